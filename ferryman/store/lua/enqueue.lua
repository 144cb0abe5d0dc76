#!lua
-- Hand over jobs. All or nothing; carried out once however often it is sent, as long as the lane repeats its sequence number.
--
-- KEYS  jobs ready ranked rank delayed bell ghosts seq producer, then in mode 'ids' one `result` key for each job
-- ARGV  lane_seq  sequence of the producer's lane; not above the last one seen = this call was carried out before
--       mode      'new' (generated ids: cannot exist) | 'ids' (chosen by the user: a job that exists, or whose success is still
--                 on record, is left alone; the record of one that was cancelled or expired gives way)
--       due       '' | '+<ms>' from now | '<ms>' since the epoch
--       rank      '' | a priority: higher runs first, below zero behind the line
--       cost      expected run time in ms for a queue in order 'shortest', else ''
--       then      id, envelope, id, envelope, ...
-- REPLY {created, existing ids...}; {-1} for a repetition
-- COST  O(jobs)
-- KEEPS one-place: an id gets its body and its place in one step
-- @include now
-- @include ring
-- @include rank
local jobs, ready, ranked, rank_of, delayed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local bell, ghosts, seq, producer = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local lane_seq, mode, due, priority, cost = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local FIRST = 6

local last = redis.call('GET', producer)
if last and tonumber(last) >= lane_seq then
  redis.call('EXPIRE', producer, 900) -- a write: what waits for replicas waits for the writes of its own connection
  return { -1 }
end

-- Everything is asked before anything is changed, and a place is given before a body: a key of the wrong type stops the script
-- with nothing done.
redis.call('HLEN', jobs)
local elsewhere = due ~= '' or priority ~= '' or cost ~= ''
local ids, bodies, existing, stale, inherited = {}, {}, {}, {}, 0
if mode == 'new' then
  for i = FIRST, #ARGV, 2 do
    ids[#ids + 1] = ARGV[i]
  end
else
  local haunting = {}
  for i = FIRST, #ARGV, 2 do
    local id, result = ARGV[i], KEYS[10 + (i - FIRST) / 2]
    -- A record is a msgpack array, its first item the state: two bytes before the word.
    local ended = redis.call('GETRANGE', result, 2, 10)
    if bodies[id] or redis.call('HEXISTS', jobs, id) == 1 or ended == 'succeeded' then
      existing[#existing + 1] = id
    else
      if ended ~= '' then
        stale[#stale + 1] = result
      end
      bodies[id] = true
      bodies[#bodies + 1] = id
      bodies[#bodies + 1] = ARGV[i + 1]
      -- A cancelled job's entry is still in `ready`. A second entry would let two workers take the one body, so a new job for the
      -- same list inherits the old entry, and its turn; only one that goes elsewhere pays for a search of the list.
      local haunts = redis.call('SISMEMBER', ghosts, id) == 1
      if haunts then
        haunting[#haunting + 1] = id
      end
      if haunts and not elsewhere then
        inherited = inherited + 1
      else
        ids[#ids + 1] = id
      end
    end
  end
  for i = 1, #haunting do
    if elsewhere then
      redis.call('LREM', ready, 1, haunting[i])
    end
    redis.call('SREM', ghosts, haunting[i])
  end
end

local ranks
if #ids > 0 and (priority ~= '' or cost ~= '') then
  redis.call('ZCARD', ranked)
  local arrival = redis.call('INCRBY', seq, #ids) - #ids
  ranks = {}
  for i = 1, #ids do
    ranks[#ranks + 1] = ids[i]
    ranks[#ranks + 1] = rank(priority, cost, arrival + i)
  end
end

if #ids == 0 then
  if inherited > 0 then
    ring(bell)
  end
elseif due ~= '' then
  local now = now_ms()
  local at = tonumber(due)
  if string.sub(due, 1, 1) == '+' then
    at = now + at
  end
  local head = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  if not head or at < tonumber(head) then
    ring(bell) -- the timer's keeper waits for a later moment than this one
  end
  local scored = {}
  for i = 1, #ids do
    scored[#scored + 1] = string.format('%.0f', at)
    scored[#scored + 1] = ids[i]
  end
  if ranks then
    redis.call('HSET', rank_of, unpack(ranks))
  end
  redis.call('ZADD', delayed, unpack(scored))
elseif ranks then
  local scored = {}
  for i = 1, #ranks, 2 do
    scored[#scored + 1] = ranks[i + 1]
    scored[#scored + 1] = ranks[i]
  end
  ring(bell)
  redis.call('HSET', rank_of, unpack(ranks))
  redis.call('ZADD', ranked, unpack(scored))
else
  ring(bell)
  redis.call('LPUSH', ready, unpack(ids))
end
if mode == 'new' then
  redis.call('HSET', jobs, unpack(ARGV, FIRST))
elseif #bodies > 0 then
  redis.call('HSET', jobs, unpack(bodies))
  if #stale > 0 then
    redis.call('DEL', unpack(stale))
  end
end
-- The marker outlives every retry of this call, and a late original that a slow server reads after its own retry.
redis.call('SET', producer, lane_seq, 'EX', 900)
return { #ids + inherited, unpack(existing) }
