#!lua flags=allow-oom
-- Take a batch of jobs under the holder's lease; promote what has come due first.
--
-- KEYS  jobs ready ranked rank delayed retries held workers bell timer paused tries crashes ghosts
-- ARGV  holder    who takes
--       limit     how many at most, and never more than 3,500; 0 promotes and rings only
--       order     'fifo' | 'lifo'
--       budget    how many due jobs to promote at most, from each of delayed and retries
-- REPLY {now_ms, due_in_ms or -1, more, held, state, ids, envelopes, tries or {}, crashes or {}, missing}
--       due_in_ms  this holder keeps the timer and must fetch again in so many ms; -1: someone else does, or nothing is due
--       state      'ok' | 'paused' | 'lost' (the holder has no lease: it must register anew)
--       missing    ids that had a place and no body: their envelopes were deleted from outside
-- COST  O(limit + budget * log(delayed))
-- KEEPS one-place: an id leaves its place and enters `held` in one step; membership is ownership
-- @include now
-- @include ring
-- @include line
local jobs, ready, ranked, rank_of, delayed, retries, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local workers, bell, timer, paused = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local tries, crashes, ghosts = KEYS[12], KEYS[13], KEYS[14]
local holder, order = ARGV[1], ARGV[3]
-- Lua's stack takes some 8,000 values: with more, the script would fail after the jobs had left their place.
local limit, budget = math.min(tonumber(ARGV[2]), 3500), math.min(tonumber(ARGV[4]), 3500)
local now = now_ms()

if not redis.call('ZSCORE', workers, holder) then
  return { now, -1, 0, 0, 'lost', {}, {}, {}, {}, {} }
end

-- Each of the two has its own budget, so a storm of retries cannot keep first runs waiting.
local next_due
for _, waiting in ipairs({ delayed, retries }) do
  local head = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')[2]
  if head and tonumber(head) <= now then
    local due = redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, budget)
    stand(due, 'last', ready, ranked, rank_of) -- into the new place before out of the old: an error between loses nothing
    redis.call('ZREM', waiting, unpack(due))
    head = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')[2]
  end
  if head then
    head = tonumber(head)
    if not next_due or head < next_due then
      next_due = head
    end
  end
end

-- One worker keeps the timer; the others sleep on. It is whoever came first, until it is late.
local due_in = -1
if next_due then
  local kept = redis.call('GET', timer)
  local keeper, kept_due
  if kept then
    keeper, kept_due = string.match(kept, '^(%S+) (%d+)$')
  end
  if not keeper or keeper == holder or tonumber(kept_due) > next_due then
    due_in = math.max(next_due - now, 0)
    local value = holder .. ' ' .. string.format('%.0f', next_due)
    if value ~= kept then
      redis.call('SET', timer, value, 'PX', string.format('%.0f', due_in + 1000))
    end
  end
end

if redis.call('EXISTS', paused) == 1 then
  return { now, due_in, 0, redis.call('SCARD', held), 'paused', {}, {}, {}, {}, {} }
end

-- A key of the wrong type must stop the script here, before anything has left its place.
redis.call('SCARD', held)
redis.call('HLEN', jobs)
redis.call('LLEN', bell)
local some_tried, some_crashed = redis.call('HLEN', tries) > 0, redis.call('HLEN', crashes) > 0

local ids = {}
local ranks = redis.call('ZCARD', ranked)
if limit > 0 and ranks > 0 then
  ids = redis.call('ZRANGEBYSCORE', ranked, '-inf', '(0', 'LIMIT', 0, limit)
  if #ids > 0 then
    redis.call('ZREM', ranked, unpack(ids))
    ranks = ranks - #ids
  end
end
if limit > #ids then
  local popped = redis.call(order == 'lifo' and 'LPOP' or 'RPOP', ready, limit - #ids)
  if popped then
    if #ids == 0 then
      ids = popped
    else
      for i = 1, #popped do
        ids[#ids + 1] = popped[i]
      end
    end
  end
end
if limit > #ids and ranks > 0 then
  local popped = redis.call('ZPOPMIN', ranked, limit - #ids)
  for i = 1, #popped, 2 do
    ids[#ids + 1] = popped[i]
  end
end

local envelopes, tried, crashed, missing, without = {}, {}, {}, {}, {}
if #ids > 0 then
  envelopes = redis.call('HMGET', jobs, unpack(ids))
  local whole = true
  for i = 1, #ids do
    if not envelopes[i] then
      whole = false
      break
    end
  end
  if not whole then
    local present, bodies = {}, {}
    for i = 1, #ids do
      if envelopes[i] then
        present[#present + 1] = ids[i]
        bodies[#bodies + 1] = envelopes[i]
      else
        without[#without + 1] = ids[i]
      end
    end
    ids, envelopes = present, bodies
  end
end
if #ids > 0 then
  redis.call('SADD', held, unpack(ids))
  if some_tried then
    tried = redis.call('HMGET', tries, unpack(ids))
  end
  if some_crashed then
    crashed = redis.call('HMGET', crashes, unpack(ids))
  end
end
for i = 1, #without do
  if redis.call('SREM', ghosts, without[i]) == 0 then
    missing[#missing + 1] = without[i]
  end
end

local more = 0
if redis.call('LLEN', ready) > 0 or redis.call('ZCARD', ranked) > 0 then
  more = 1
  ring(bell)
end
return { now, due_in, more, redis.call('SCARD', held), 'ok', ids, envelopes, tried, crashed, missing }
