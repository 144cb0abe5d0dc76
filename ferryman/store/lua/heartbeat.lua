#!lua flags=allow-oom
-- Keep leases alive. A lease that was given away to the sweep is not revived.
--
-- KEYS  workers
-- ARGV  lease_ms, then holders...
-- REPLY holders whose lease is lost
-- COST  O(holders * log(workers))
-- @include now
local workers = KEYS[1]
local until_ms = string.format('%.0f', now_ms() + tonumber(ARGV[1]))
local lost = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', workers, ARGV[i]) then
    redis.call('ZADD', workers, until_ms, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
