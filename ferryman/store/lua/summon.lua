#!lua flags=allow-oom
-- Take the jobs that older workers have left to a newer one. They come straight from `delayed`: by way of `ready` they would meet the
-- older workers again, and where those are many, bounce for ever.
--
-- KEYS  newer delayed held workers jobs tries crashes paused
-- ARGV  holder
--       version  the highest that this worker reads
--       limit    how many at most, and never more than 3,500
-- REPLY {held, more, ids, envelopes, tries, crashes}
--       more     1: the look ended at its limit
-- COST  O(limit * log(delayed))
-- KEEPS one-place: an id leaves `delayed` and enters `held` in one step; membership is ownership
local newer, delayed, held, workers, jobs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local tries, crashes, paused = KEYS[6], KEYS[7], KEYS[8]
local holder, version, limit = ARGV[1], ARGV[2], math.min(tonumber(ARGV[3]), 3500)

local noted = redis.call('ZRANGEBYSCORE', newer, '-inf', version, 'LIMIT', 0, limit)
if #noted == 0 or not redis.call('ZSCORE', workers, holder) or redis.call('EXISTS', paused) == 1 then
  return { redis.call('SCARD', held), 0, {}, {}, {}, {} }
end

-- Some have run meanwhile, or were cancelled: they are only forgotten here.
local due = redis.call('ZMSCORE', delayed, unpack(noted))
local waiting = {}
for i = 1, #noted do
  if due[i] then
    waiting[#waiting + 1] = noted[i]
  end
end
local ids, envelopes, tried, crashed = {}, {}, {}, {}
if #waiting > 0 then
  local bodies = redis.call('HMGET', jobs, unpack(waiting))
  for i = 1, #waiting do
    if bodies[i] then -- one without a body is reported by the fetch that meets it
      ids[#ids + 1] = waiting[i]
      envelopes[#envelopes + 1] = bodies[i]
    end
  end
end
if #ids > 0 then
  tried = redis.call('HMGET', tries, unpack(ids))
  crashed = redis.call('HMGET', crashes, unpack(ids))
  redis.call('SADD', held, unpack(ids)) -- into the new place before out of the old
  redis.call('ZREM', delayed, unpack(ids))
end
redis.call('ZREM', newer, unpack(noted))
return { redis.call('SCARD', held), #noted == limit and 1 or 0, ids, envelopes, tried, crashed }
