#!lua flags=allow-oom
-- How a queue stands: the length of each place, and who is at its head.
--
-- KEYS  jobs ready ranked delayed retries dead workers holders paused ghosts
-- ARGV  stem
-- REPLY {now_ms, ready, ranked, delayed, retries, held, dead, ghosts, workers, paused or false, envelope of the oldest or false,
--        next due ms or false}
-- COST  O(holders)
-- @include now
local jobs, ready, ranked, delayed, retries, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local workers, holders, paused, ghosts = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local now = now_ms()
local held = 0
for _, holder in ipairs(redis.call('SMEMBERS', holders)) do
  held = held + redis.call('SCARD', ARGV[1] .. 'held:' .. holder)
end
local oldest = false
local ends = redis.call('LRANGE', ready, -1, -1)
if #ends > 0 then
  oldest = redis.call('HGET', jobs, ends[1])
end
local next_due = false
for _, waiting in ipairs({ delayed, retries }) do
  local head = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')[2]
  if head and (not next_due or tonumber(head) < tonumber(next_due)) then
    next_due = head
  end
end
return {
  now, redis.call('LLEN', ready), redis.call('ZCARD', ranked), redis.call('ZCARD', delayed), redis.call('ZCARD', retries),
  held, redis.call('ZCARD', dead), redis.call('SCARD', ghosts), redis.call('ZCOUNT', workers, now, '+inf'),
  redis.call('GET', paused), oldest, next_due,
}
