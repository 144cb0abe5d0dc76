#!lua flags=allow-oom
-- Stop leading the schedulers, and wake the one that is next.
--
-- KEYS  leader vacancy
-- ARGV  scheduler ttl_ms   how long the bell may go unheard: nobody else may be there
-- REPLY 1 if the caller led
-- COST  O(1)
-- @include ring
local leader, vacancy = KEYS[1], KEYS[2]
local held = redis.call('GET', leader)
if not held or string.match(held, '^%d+ (.+)$') ~= ARGV[1] then
  return 0
end
redis.call('DEL', leader)
ring(vacancy)
redis.call('PEXPIRE', vacancy, ARGV[2])
return 1
