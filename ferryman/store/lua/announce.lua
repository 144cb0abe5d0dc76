#!lua flags=allow-oom
-- Say that suspects are about to run. A worker was lost with each of them before; if one is lost again, only those that had really
-- begun are charged.
--
-- KEYS  held started
-- ARGV  ids...
-- REPLY refused ids
-- COST  O(ids)
-- @include own
local held, started = KEYS[1], KEYS[2]
local owned, refused = own(held, { unpack(ARGV) })
if #owned > 0 then
  redis.call('SADD', started, unpack(owned))
  redis.call('EXPIRE', started, 2592000)
end
return refused
