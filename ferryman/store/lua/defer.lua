#!lua flags=allow-oom
-- Leave held jobs to a newer worker, uncharged: this one cannot read their envelopes.
--
-- KEYS  held delayed newer bell settled
-- ARGV  lane number   which of the holder's calls this is; lane '': it is not numbered
--       then for each job: id, version, delay_ms
--       version   of its envelope: who reads it may summon the job
--       delay_ms  when it is anybody's again, should nobody summon it
-- REPLY refused ids; of a call that was carried out before, none
-- COST  O(ids * log(delayed))
-- KEEPS one-place; ownership; `newer` is a hint, so it has a cap and a TTL, and nothing is lost with it
-- @include now
-- @include ring
-- @include own
-- @include once
local held, delayed, newer, bell, settled = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lane, number = ARGV[1], ARGV[2]
local FIRST = 3

if carried_out(settled, lane, number) then
  return {}
end

local ids, version, delay = {}, {}, {}
for i = FIRST, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
  version[ARGV[i]], delay[ARGV[i]] = ARGV[i + 1], tonumber(ARGV[i + 2])
end
local owned, refused = own(held, ids)
if #owned > 0 then
  local now = now_ms()
  local head = tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) or math.huge
  local room = redis.call('ZCARD', newer) < 100000
  local first = math.huge
  for i = 1, #owned do
    first = math.min(first, now + delay[owned[i]])
  end
  if first < head then
    ring(bell) -- whoever keeps the timer waits for a later moment
  end
  for i = 1, #owned do
    redis.call('ZADD', delayed, string.format('%.0f', now + delay[owned[i]]), owned[i])
    if room then
      redis.call('ZADD', newer, string.format('%.0f', version[owned[i]]), owned[i])
    end
  end
  redis.call('EXPIRE', newer, 86400)
  redis.call('SREM', held, unpack(owned))
end
remember(settled, lane, number)
return refused
