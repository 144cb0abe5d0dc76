#!lua flags=allow-oom
-- Stop or resume the fetching of a queue's jobs. Jobs that run go on; new ones are still taken in.
--
-- KEYS  paused bell
-- ARGV  reason   '' resumes
-- REPLY 1 if that changed anything
-- COST  O(1)
-- @include ring
local paused, bell = KEYS[1], KEYS[2]
if ARGV[1] == '' then
  local changed = redis.call('DEL', paused)
  ring(bell)
  return changed
end
local before = redis.call('GET', paused)
redis.call('SET', paused, ARGV[1])
return before and 0 or 1
