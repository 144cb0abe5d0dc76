#!lua flags=allow-oom
-- Give held jobs back, uncharged, to the head of their line: a worker that stops, or that fetched more than it can run.
--
-- KEYS  held ready ranked rank bell
-- ARGV  ids...
-- REPLY {held, refused ids...}
-- COST  O(ids)
-- KEEPS one-place; ownership
-- @include ring
-- @include line
-- @include own
local held, ready, ranked, rank_of, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local owned, refused = own(held, { unpack(ARGV) })
if #owned > 0 then
  stand(owned, true, ready, ranked, rank_of)
  redis.call('SREM', held, unpack(owned))
  ring(bell)
end
return { redis.call('SCARD', held), unpack(refused) }
