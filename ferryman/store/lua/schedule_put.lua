#!lua
-- Keep a schedule's record, if nobody else has changed it since the caller looked.
--
-- KEYS  schedules ticks hands owed runs
-- ARGV  name
--       expected  where the hands stood; '' it did not exist
--       record    what to keep
--       moved     where the hands stand from now on
--       due       when it is to be looked at: its next tick is due, or it has ended and is to be forgotten; '' never
-- REPLY 1; 0: somebody else was quicker
-- COST  O(log(schedules))
-- KEEPS a record and its hands change together; nothing that was owed outlives a schedule that has no ticks
local schedules, ticks, hands, owed, runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local name, expected, record, moved, due = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local stand = redis.call('HGET', hands, name) or ''
if stand ~= expected then
  -- The very same record and hands mean this very call, sent again after its reply was lost.
  return stand == moved and redis.call('HGET', schedules, name) == record and 1 or 0
end
redis.call('ZCARD', ticks)
redis.call('HLEN', owed)
if stand == '' then
  redis.call('PERSIST', runs) -- of one of that name that was deleted a short while ago
end
redis.call('HSET', schedules, name, record)
redis.call('HSET', hands, name, moved)
if due == '' then
  redis.call('ZREM', ticks, name)
  redis.call('HDEL', owed, name)
else
  redis.call('ZADD', ticks, string.format('%.0f', due), name)
end
return 1
