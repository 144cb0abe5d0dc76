#!lua
-- Fire ticks: enqueue their jobs and move the hands of their schedules on, in one step.
--
-- KEYS  jobs ready ranked rank bell ghosts seq dead ticks hands owed overtaken fence, then for each schedule its `runs`, then for
--       each entry with a job its `result`
-- ARGV  token   of the leader; '' from a person (run now, backfill)
--       keep    how many runs to remember of a schedule
--       count   of schedules; then for each of them
--         name guard expected moved next_due due overlap priority cost entries
--           guard     'hands' (they must stand at `expected`) | 'owed' (that nominal time must be owed) | 'none'
--           moved     where the hands stand from now on; '' leaves them
--           next_due  when the next tick is due; '' there is none
--           due       no tick is fired before it, whatever the caller's clock says; '' at once
--           overlap   'allow' | 'skip_if_running' | 'queue_one' | 'cancel_running'
--           priority, cost   as for enqueue
--         then for each entry: id nominal kind envelope   id '-': no job, a line in the history only
-- REPLY {now_ms, 'ok' | 'deposed', {status, created, ...}}
--       status  'fired' | 'stale' (the hands stand elsewhere: somebody else has fired it, or it was changed) |
--               'early' | 'owed' (it waits for the run before it) | 'waiting' (so it still does)
-- COST  O(entries), and of a schedule without 'allow' its last runs
-- KEEPS one-place; a tick's job is enqueued at most once; the hands move together with it
-- @include now
-- @include ring
-- @include rank
-- @include chunks
-- @include fence
local jobs, ready, ranked, rank_of, bell, ghosts, seq = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local dead, ticks, hands, owed, overtaken, fence = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local token, keep, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local now_text = string.format('%.0f', now)

if token ~= '' and deposed(fence, tonumber(token)) then
  return { now, 'deposed', {} }
end
-- A key of the wrong type must stop the script before anything is changed.
redis.call('LLEN', ready)
redis.call('ZCARD', ranked)
redis.call('HLEN', rank_of)
redis.call('LLEN', bell)
redis.call('ZCARD', ticks)
redis.call('HLEN', owed)
redis.call('SCARD', overtaken)
redis.call('HLEN', jobs)

-- Jobs of the schedule that have not ended, newest first. Dead letters have.
local function unfinished(runs)
  local found = {}
  for _, line in ipairs(redis.call('LRANGE', runs, 0, 19)) do
    local id = string.match(line, '^(%S+) ')
    if id and id ~= '-' and redis.call('HEXISTS', jobs, id) == 1 and not redis.call('ZSCORE', dead, id) then
      found[#found + 1] = id
    end
  end
  return found
end

local new_ids, bodies, scored, ranks, moves, dues, ended = {}, {}, {}, {}, {}, {}, {}
local replies, made = {}, {}
local runs_at, results_at = 13, 13 + count

local function place(id, envelope, priority, cost)
  made[id] = true
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = envelope
  if priority == '' and cost == '' then
    new_ids[#new_ids + 1] = id
    return
  end
  local at = rank(priority, cost, redis.call('INCRBY', seq, 1))
  scored[#scored + 1] = at
  scored[#scored + 1] = id
  ranks[#ranks + 1] = id
  ranks[#ranks + 1] = at
end

-- One entry of one schedule. Gives 1 if it made a job.
local function fire(runs, overlap, priority, cost, id, nominal, kind, envelope, result, running)
  local function remember(shown, why)
    redis.call('LPUSH', runs, shown .. ' ' .. nominal .. ' ' .. now_text .. ' ' .. why)
  end
  if id == '-' then
    remember('-', kind)
    return 0
  end
  if made[id] or redis.call('HEXISTS', jobs, id) == 1 or redis.call('EXISTS', result) == 1
    or redis.call('SISMEMBER', ghosts, id) == 1 then
    return 0 -- it was fired before
  end
  if overlap == 'skip_if_running' and #running > 0 then
    remember('-', 'overlap')
    return 0
  end
  if overlap == 'cancel_running' then
    for _, earlier in ipairs(running) do
      redis.call('SADD', overtaken, earlier)
    end
  end
  place(id, envelope, priority, cost)
  table.insert(running, 1, id)
  if kind ~= 'backfill' then
    remember(id, kind)
  end
  return 1
end

local at = 4
for i = 1, count do
  local name, guard, expected, moved, next_due = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local due, overlap, priority, cost, entries = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8], tonumber(ARGV[at + 9])
  local first = at + 10
  at = first + entries * 4
  local runs, status, created = KEYS[runs_at + i], 'fired', 0
  if guard == 'hands' and redis.call('HGET', hands, name) ~= expected then
    status = 'stale'
  elseif guard == 'owed' and redis.call('HGET', owed, name) ~= expected then
    status = 'stale'
  elseif due ~= '' and tonumber(due) > now then
    status = 'early'
  end
  local running = {}
  if status == 'fired' and overlap ~= 'allow' and guard ~= 'none' then
    running = unfinished(runs)
    if guard == 'owed' and #running > 0 then
      status = 'waiting'
    end
  end
  if status == 'fired' then
    for e = first, at - 1, 4 do
      local result
      if ARGV[e] ~= '-' then
        results_at = results_at + 1
        result = KEYS[results_at]
      end
      if overlap == 'queue_one' and guard == 'hands' and #running > 0 and ARGV[e] ~= '-' then
        if redis.call('HSETNX', owed, name, ARGV[e + 1]) == 1 then
          status = 'owed'
        elseif redis.call('HGET', owed, name) ~= ARGV[e + 1] then
          redis.call('LPUSH', runs, '- ' .. ARGV[e + 1] .. ' ' .. now_text .. ' overlap') -- one waits already
        end
      else
        created = created + fire(runs, overlap, priority, cost, ARGV[e], ARGV[e + 1], ARGV[e + 2], ARGV[e + 3], result, running)
      end
    end
    redis.call('LTRIM', runs, 0, keep - 1)
    if guard == 'owed' then
      redis.call('HDEL', owed, name)
    end
    if moved ~= '' then
      moves[#moves + 1] = name
      moves[#moves + 1] = moved
      if next_due ~= '' then
        dues[#dues + 1] = next_due
        dues[#dues + 1] = name
      else
        ended[#ended + 1] = name
      end
    end
  else
    for e = first, at - 1, 4 do
      if ARGV[e] ~= '-' then
        results_at = results_at + 1
      end
    end
  end
  replies[#replies + 1] = status
  replies[#replies + 1] = created
end

if #bodies > 0 then
  ring(bell)
  chunked('LPUSH', ready, new_ids)
  chunked('HSET', rank_of, ranks)
  chunked('ZADD', ranked, scored)
  chunked('HSET', jobs, bodies)
end
chunked('ZADD', ticks, dues)
chunked('ZREM', ticks, ended)
chunked('HSET', hands, moves)
return { now, 'ok', replies }
