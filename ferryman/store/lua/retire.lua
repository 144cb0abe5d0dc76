#!lua flags=allow-oom
-- End a lease in good order. Refused while the holder still holds jobs: those must be given back first.
--
-- KEYS  workers holders held started timer bell settled
-- ARGV  holder
-- REPLY how many jobs it still holds; 0: it is gone
-- COST  O(log(workers))
-- @include ring
local workers, holders, held, started = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local timer, bell, settled = KEYS[5], KEYS[6], KEYS[7]
local holder = ARGV[1]
local left = redis.call('SCARD', held)
if left == 0 then
  redis.call('ZREM', workers, holder)
  redis.call('SREM', holders, holder)
  redis.call('DEL', started, settled)
  local kept = redis.call('GET', timer)
  if kept and string.sub(kept, 1, #holder + 1) == holder .. ' ' then
    redis.call('DEL', timer)
    ring(bell) -- somebody else must watch the clock now
  end
end
return left
