#!lua flags=allow-oom
-- Keep leases alive. A lease that was given away to the sweep is not revived.
--
-- KEYS  workers cancels
-- ARGV  lease_ms stem, then holders...
-- REPLY {{holders whose lease is lost}, {holder, id, ...}}: what each of them holds that somebody asked to cancel
-- COST  O(holders * (log(workers) + requests)); of more than 1,000 requests, some at random: the others come with the next
-- @include now
local workers, cancels = KEYS[1], KEYS[2]
local until_ms = string.format('%.0f', now_ms() + tonumber(ARGV[1]))
local lost = {}
for i = 3, #ARGV do
  if redis.call('ZSCORE', workers, ARGV[i]) then
    redis.call('ZADD', workers, until_ms, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
local asked = {}
if redis.call('HLEN', cancels) > 0 then
  local ids = redis.call('HRANDFIELD', cancels, 1000)
  for i = 3, #ARGV do
    local holds = redis.call('SMISMEMBER', ARGV[2] .. 'held:' .. ARGV[i], unpack(ids))
    for j = 1, #ids do
      if holds[j] == 1 then
        asked[#asked + 1] = ARGV[i]
        asked[#asked + 1] = ids[j]
      end
    end
  end
end
return { lost, asked }
