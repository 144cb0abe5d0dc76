#!lua flags=allow-oom
-- Forget a schedule. Jobs that it has enqueued go on; its history is kept for a while.
--
-- KEYS  schedules ticks hands owed runs
-- ARGV  name
--       expected  where the hands must stand; '' wherever they do
--       ttl_ms    how long the history is kept
-- REPLY {1, hands or false}; {0, hands}: they stand elsewhere, nothing was done
-- COST  O(log(schedules))
local schedules, ticks, hands, owed, runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local name = ARGV[1]
local stand = redis.call('HGET', hands, name)
if ARGV[2] ~= '' and stand and stand ~= ARGV[2] then
  return { 0, stand }
end
redis.call('ZREM', ticks, name)
redis.call('HDEL', owed, name)
redis.call('HDEL', schedules, name)
redis.call('HDEL', hands, name)
redis.call('PEXPIRE', runs, ARGV[3])
return { 1, stand }
