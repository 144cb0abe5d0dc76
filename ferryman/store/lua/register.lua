#!lua flags=allow-oom
-- Begin a lease. A holder's name is used once: who lost a lease comes back under a new name.
--
-- KEYS  workers holders
-- ARGV  holder lease_ms
-- REPLY now_ms
-- COST  O(log(workers))
-- KEEPS whoever may hold jobs is in `holders`, so the sweep finds a holder without a lease too
-- @include now
local workers, holders = KEYS[1], KEYS[2]
local holder, lease = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
redis.call('SADD', holders, holder)
redis.call('ZADD', workers, string.format('%.0f', now + lease), holder)
return now
