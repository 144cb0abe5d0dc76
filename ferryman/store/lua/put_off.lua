#!lua flags=allow-oom
-- Look at a schedule again later: its record cannot be read here, or its tick cannot be made. The tick is not lost.
--
-- KEYS  ticks fence
-- ARGV  token pause_ms, then for each: name, due as the caller saw it
-- REPLY how many were put off
-- COST  O(names * log(schedules))
-- @include now
-- @include fence
local ticks, fence = KEYS[1], KEYS[2]
if deposed(fence, tonumber(ARGV[1])) then
  return 0
end
local later = now_ms() + tonumber(ARGV[2])
local count = 0
for i = 3, #ARGV, 2 do
  local due = redis.call('ZSCORE', ticks, ARGV[i])
  if due and tonumber(due) == tonumber(ARGV[i + 1]) then
    redis.call('ZADD', ticks, string.format('%.0f', later), ARGV[i])
    count = count + 1
  end
end
return count
