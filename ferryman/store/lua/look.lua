#!lua flags=allow-oom
-- What a queue's schedules need soon: the ticks that come due, those that are owed, and jobs that were overtaken.
--
-- KEYS  ticks schedules hands owed overtaken fence
-- ARGV  token       of the leader that asks
--       ahead_ms    how far to look
--       skip        how many of those ticks the caller knows already, from pages before
--       limit       how many at most, and never more than 3,500
-- REPLY {now_ms, 'ok' | 'deposed', next due after these or false, {names}, {dues}, {records}, {hands},
--        {owed name, nominal, ...}, {overtaken ids}}
-- COST  O(limit + log(schedules)): what is due, not what exists
-- @include now
-- @include fence
local ticks, schedules, hands, owed, overtaken, fence = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local token, ahead, skip, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), math.min(tonumber(ARGV[4]), 3500)
local now = now_ms()
if deposed(fence, token) then
  return { now, 'deposed', false, {}, {}, {}, {}, {}, {} }
end
local found = redis.call('ZRANGEBYSCORE', ticks, '-inf', now + ahead, 'WITHSCORES', 'LIMIT', skip, limit)
local names, dues = {}, {}
for i = 1, #found, 2 do
  names[#names + 1] = found[i]
  dues[#dues + 1] = found[i + 1]
end
local records, stand = {}, {}
if #names > 0 then
  records = redis.call('HMGET', schedules, unpack(names))
  stand = redis.call('HMGET', hands, unpack(names))
end
local after = redis.call('ZRANGE', ticks, skip + #names, skip + #names, 'WITHSCORES')[2] or false
local waiting, late = {}, {}
if skip == 0 then
  if redis.call('HLEN', owed) > 0 then
    waiting = redis.call('HRANDFIELD', owed, 500, 'WITHVALUES')
  end
  if redis.call('SCARD', overtaken) > 0 then
    late = redis.call('SRANDMEMBER', overtaken, 500)
  end
end
return { now, 'ok', after, names, dues, records, stand, waiting, late }
