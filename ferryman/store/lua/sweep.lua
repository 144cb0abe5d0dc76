#!lua flags=allow-oom
-- Look for holders whose lease has lapsed, and for holders that have none. One sweep at a time, however many workers look.
--
-- KEYS  workers holders swept
-- ARGV  pause_ms  how long nobody need look again
-- REPLY holders to recover
-- COST  O(workers), at most once in pause_ms for the whole fleet
-- @include now
local workers, holders, swept = KEYS[1], KEYS[2], KEYS[3]
if not redis.call('SET', swept, '1', 'NX', 'PX', ARGV[1]) then
  return {}
end
local found = redis.call('ZRANGEBYSCORE', workers, '-inf', now_ms(), 'LIMIT', 0, 100)
local all = redis.call('SMEMBERS', holders)
for first = 1, #all, 4000 do
  local last = math.min(first + 3999, #all)
  local leases = redis.call('ZMSCORE', workers, unpack(all, first, last))
  for i = 1, #leases do
    if not leases[i] and #found < 100 then
      found[#found + 1] = all[first + i - 1]
    end
  end
end
return found
