#!lua flags=allow-oom
-- A schedule as it is kept.
--
-- KEYS  schedules ticks hands owed
-- ARGV  name
-- REPLY {now_ms, record or false, hands or false, due or false, owed nominal or false}
-- COST  O(1)
-- @include now
local schedules, ticks, hands, owed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name = ARGV[1]
return {
  now_ms(), redis.call('HGET', schedules, name), redis.call('HGET', hands, name), redis.call('ZSCORE', ticks, name),
  redis.call('HGET', owed, name),
}
