#!lua flags=allow-oom
-- Give held jobs a later turn: after a failed attempt, or because the task snoozed.
--
-- KEYS  held waiting tries bell cancels jobs rank crashes done settled, then one `attempts` key for each job
--       waiting  `retries` for a failed attempt, `delayed` for a snooze
-- ARGV  lane number   which of the holder's calls this is; lane '': it is not numbered
--       cap   how many records of attempts to keep of a job
--       stem  what `result:<id>` begins with, for jobs that end here
--       then for each job: id, delay_ms, attempts made, record ('' = none)
-- REPLY refused ids; of a call that was carried out before, none
-- COST  O(jobs * log(waiting))
-- KEEPS one-place; ownership; a job that was asked to be cancelled ends instead
-- @include now
-- @include ring
-- @include own
-- @include asked
-- @include once
local held, waiting, tries, bell, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local jobs, rank_of, crashes, done, settled = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local lane, number = ARGV[1], ARGV[2]
local cap, stem = tonumber(ARGV[3]), ARGV[4]
local FIRST = 5

if carried_out(settled, lane, number) then
  return {}
end

local now = now_ms()

local ids = {}
for i = FIRST, #ARGV, 4 do
  ids[#ids + 1] = ARGV[i]
end
local owned, refused = own(held, ids)
local _, asked = asked_of(owned, cancels)
local foreign = {}
for i = 1, #refused do
  foreign[refused[i]] = true
end

local head = tonumber(redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')[2]) or math.huge
local first = math.huge
for i = FIRST, #ARGV, 4 do
  local id, delay, made, record = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  if not foreign[id] and not asked[id] then
    local at = now + delay
    redis.call('ZADD', waiting, string.format('%.0f', at), id)
    redis.call('SREM', held, id)
    if made > 0 then
      redis.call('HSET', tries, id, made)
    end
    if record ~= '' then
      local attempts = KEYS[11 + (i - FIRST) / 4]
      redis.call('RPUSH', attempts, record)
      redis.call('LTRIM', attempts, -cap, -1)
      redis.call('PERSIST', attempts) -- a revival had set a limit to its time
    end
    first = math.min(first, at)
  end
end
if first < head then
  ring(bell) -- whoever keeps the timer waits for a later moment
end
end_asked(asked, stem, held, cancels, jobs, rank_of, tries, crashes, done)
remember(settled, lane, number)
return refused
