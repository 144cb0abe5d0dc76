#!lua flags=allow-oom
-- Take a job out of its queue for good; of one that a worker holds, note that this is asked for.
--
-- KEYS  jobs delayed retries ranked dead holders ready ghosts rank tries crashes result attempts done cancels orders
-- ARGV  id stem ttl_ms record running
--       record   how it ended, kept for ttl_ms; '' keeps nothing
--       running  '1': a job that a worker holds is asked to end; '0': it is left alone
-- REPLY 'cancelled' | 'running' (a worker holds it: nothing was done) | 'asked' (its holder is told) | 'gone'
-- COST  O(holders + log(queue))
-- KEEPS one-place: an entry that stays behind in `ready` is a ghost and counted as one; whoever is in `cancels` is held, and each
--       step out of `held` takes it out of there
local jobs, delayed, retries, ranked, dead, holders, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local ghosts, rank_of, tries, crashes, result, attempts, done, cancels, orders =
  KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15], KEYS[16]
local id, stem, ttl, record, running = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if redis.call('HEXISTS', jobs, id) == 0 then
  -- The record names the moment, so the very same one means this very call, sent again after its reply was lost.
  return record ~= '' and redis.call('GET', result) == record and 'cancelled' or 'gone'
end
for _, candidate in ipairs(redis.call('SMEMBERS', holders)) do
  if redis.call('SISMEMBER', stem .. 'held:' .. candidate, id) == 1 then
    if running ~= '1' then
      return 'running'
    end
    redis.call('HSETNX', cancels, id, ttl .. ' ' .. record)
    redis.call('EXPIRE', cancels, 2592000)
    redis.call('PUBLISH', orders, candidate) -- may be lost, and anybody may say it: the holder's supervisor looks here for what counts
    return 'asked'
  end
end
local place -- all places are asked before one is changed: a key of the wrong type must not leave a body without a place
for _, key in ipairs({ delayed, retries, ranked, dead }) do
  if redis.call('ZSCORE', key, id) then
    place = key
  end
end
redis.call('HDEL', rank_of, id)
redis.call('HDEL', tries, id)
redis.call('HDEL', crashes, id)
if place then
  redis.call('ZREM', place, id)
else
  -- Searching the list would cost as much as the queue is long. The entry stays and is skipped when it comes up.
  redis.call('SADD', ghosts, id)
end
redis.call('HDEL', jobs, id)
redis.call('UNLINK', attempts)
if record ~= '' then
  redis.call('SET', result, record, 'PX', ttl)
  redis.call('PUBLISH', done, id)
end
return 'cancelled'
