#!lua flags=allow-oom
-- Where is a job? Its place is its state; there is no second field that could disagree.
--
-- KEYS  jobs delayed retries ranked dead holders tries crashes result attempts
-- ARGV  id stem
-- REPLY {place, envelope or false, score or false, holder or false, tries or false, crashes or false, result or false, {attempts}}
--       place  'ready' | 'ranked' | 'delayed' | 'retries' | 'held' | 'dead' | 'gone'
-- COST  O(holders), and the job's own history
local jobs, delayed, retries, ranked, dead, holders = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local tries, crashes, result, attempts = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local id, stem = ARGV[1], ARGV[2]

local history = redis.call('LRANGE', attempts, 0, -1)
local envelope = redis.call('HGET', jobs, id)
if not envelope then
  return { 'gone', false, false, false, false, false, redis.call('GET', result), history }
end
local place, score, holder = 'ready', false, false
for name, key in pairs({ delayed = delayed, retries = retries, ranked = ranked, dead = dead }) do
  local found = redis.call('ZSCORE', key, id)
  if found then
    place, score = name, found
    break
  end
end
if place == 'ready' then
  for _, candidate in ipairs(redis.call('SMEMBERS', holders)) do
    if redis.call('SISMEMBER', stem .. 'held:' .. candidate, id) == 1 then
      place, holder = 'held', candidate
      break
    end
  end
end
return {
  place, envelope, score, holder,
  redis.call('HGET', tries, id), redis.call('HGET', crashes, id), redis.call('GET', result), history,
}
