#!lua flags=allow-oom
-- Put held jobs among the dead letters: out of attempts, rejected, or too many workers were lost under them.
--
-- KEYS  held jobs dead rank tries crashes failures stats done cancels settled, then one `attempts` key for each job
-- ARGV  lane number   which of the holder's calls this is; lane '': it is not numbered
--       cap        how many records of attempts to keep of a job
--       most       how many dead letters to keep
--       oldest_ms  how long to keep them
--       stem       what `attempts:<id>` and `result:<id>` begin with, for dead letters that have to go and jobs that end here
--       then for each job: id, attempts made, record, fingerprint, task
-- REPLY refused ids; of a call that was carried out before, none
-- COST  O(jobs * log(dead)); at most 200 old dead letters are dropped in one call
-- KEEPS one-place; ownership; dead letters are capped by number and age, counted failures by number; a job that was asked to be
--       cancelled ends instead
-- @include now
-- @include own
-- @include asked
-- @include once
local held, jobs, dead, rank_of, tries, crashes, failures, stats, done, cancels, settled =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local lane, number = ARGV[1], ARGV[2]
local cap, most, oldest, stem = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local FIRST = 7

if carried_out(settled, lane, number) then
  return {}
end

local now = now_ms()

local ids = {}
for i = FIRST, #ARGV, 5 do
  ids[#ids + 1] = ARGV[i]
end
local owned, refused = own(held, ids)
local _, asked = asked_of(owned, cancels)
local foreign = {}
for i = 1, #refused do
  foreign[refused[i]] = true
end

local ended = {}
for i = FIRST, #ARGV, 5 do
  local id, made, record, fingerprint, task = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if not foreign[id] and not asked[id] then
    redis.call('ZADD', dead, string.format('%.0f', now), id)
    redis.call('SREM', held, id)
    redis.call('HSET', tries, id, made)
    redis.call('HDEL', crashes, id) -- a person who revives it gives it a clean slate
    local attempts = KEYS[12 + (i - FIRST) / 5]
    redis.call('RPUSH', attempts, record)
    redis.call('LTRIM', attempts, -cap, -1)
    redis.call('PERSIST', attempts) -- a revival had set a limit to its time
    if redis.call('HINCRBY', failures, fingerprint, 1) == 1 and redis.call('HLEN', failures) > 2000 then
      -- Each deployment moves lines and makes new fingerprints: without a bound the counts of all old ones would stay for ever.
      redis.call('HDEL', failures, unpack(redis.call('HRANDFIELD', failures, 100)))
      redis.call('HSET', failures, fingerprint, 1)
    end
    redis.call('HINCRBY', stats, 'dead:' .. task, 1)
    ended[#ended + 1] = id
  end
end
if #ended > 0 then
  redis.call('EXPIRE', stats, 259200)
  redis.call('PEXPIRE', failures, oldest) -- kinds of failure that nobody meets any more are forgotten with their letters
  redis.call('PUBLISH', done, table.concat(ended, ' '))
end

local excess = redis.call('ZRANGEBYSCORE', dead, '-inf', now - oldest, 'LIMIT', 0, 100)
local over = redis.call('ZCARD', dead) - #excess - most
if over > 0 then
  local more = redis.call('ZRANGE', dead, #excess, #excess + math.min(over, 100) - 1)
  for i = 1, #more do
    excess[#excess + 1] = more[i]
  end
end
if #excess > 0 then
  redis.call('HDEL', jobs, unpack(excess))
  redis.call('HDEL', tries, unpack(excess))
  redis.call('HDEL', rank_of, unpack(excess))
  redis.call('ZREM', dead, unpack(excess))
  for i = 1, #excess do
    redis.call('UNLINK', stem .. 'attempts:' .. excess[i])
  end
end
end_asked(asked, stem, held, cancels, jobs, rank_of, tries, crashes, done)
remember(settled, lane, number)
return refused
