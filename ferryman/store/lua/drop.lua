#!lua flags=allow-oom
-- Forget held ids whose envelopes are gone: somebody deleted them from outside. Nothing can be run, nothing is left to keep.
--
-- KEYS  held jobs rank tries crashes cancels, then one `attempts` key for each id
-- ARGV  ids...
-- REPLY how many were dropped
-- COST  O(ids)
-- @include own
local held, jobs, rank_of, tries, crashes, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local owned = own(held, { unpack(ARGV) })
local dropped = 0
local attempts = {}
for i = 1, #ARGV do
  attempts[ARGV[i]] = KEYS[6 + i]
end
for i = 1, #owned do
  if redis.call('HEXISTS', jobs, owned[i]) == 0 then
    redis.call('SREM', held, owned[i])
    redis.call('HDEL', rank_of, owned[i])
    redis.call('HDEL', tries, owned[i])
    redis.call('HDEL', crashes, owned[i])
    redis.call('HDEL', cancels, owned[i])
    redis.call('UNLINK', attempts[owned[i]])
    dropped = dropped + 1
  end
end
return dropped
