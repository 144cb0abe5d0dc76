#!lua flags=allow-oom
-- A schedule as it is kept.
--
-- KEYS  schedules ticks hands owed
-- ARGV  name
-- REPLY {now_ms, record or false, hands or false, due or false, owed nominal or false}
-- COST  O(1)
-- @include now
local name = ARGV[1]
return {
  now_ms(), redis.call('HGET', KEYS[1], name), redis.call('HGET', KEYS[3], name), redis.call('ZSCORE', KEYS[2], name),
  redis.call('HGET', KEYS[4], name),
}
