#!lua flags=allow-oom
-- Take the jobs back from a holder that is gone, and count a crash for those that it was running.
--
-- KEYS  workers holders held started ready ranked rank crashes jobs tries timer bell cancels done settled
-- ARGV  holder
--       stem       what `result:<id>` begins with, for jobs that end here
--       forced     '1': its supervisor saw it die; '0': only if its lease has lapsed
--       batch      how many jobs to move at most
--       limit      this many crashes within the window condemn a job
--       window_ms
--       order      'fifo' | 'lifo': where the head of the line is
--       charge     'all': nobody knows what was running (a whole machine is gone) | 'named': the ids that follow were
--       ids...
-- REPLY {left, {moved ids}, {condemned ids}, {their envelopes}, {their attempts made}, {cancelled ids}}; {-1}: the lease lives
--       left       jobs that this holder still holds: bury the condemned and call again until it is 0
--       condemned  still held; the caller buries them, who knows their task
-- COST  O(batch)
-- KEEPS one-place; a crash burns no attempt; a job that was asked to be cancelled ends instead
-- @include now
-- @include ring
-- @include line
-- @include asked
local workers, holders, held, started = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ready, ranked, rank_of, crashes, jobs, tries, timer, bell, cancels, done, settled =
  KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local holder, stem, forced = ARGV[1], ARGV[2], ARGV[3]
local batch, limit, window = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local order, charge = ARGV[7], ARGV[8]
local now = now_ms()

local lease = redis.call('ZSCORE', workers, holder)
if forced ~= '1' and lease and tonumber(lease) > now then
  return { -1 }
end
-- From here on the holder is gone: should it still live, its next heartbeat tells it so. It stays among `holders` until nothing is
-- left, so a recovery that is itself cut short is found by the next sweep.
redis.call('ZREM', workers, holder)

local named = {}
for i = 9, #ARGV do
  named[ARGV[i]] = true
end

local found, asked = asked_of(redis.call('SRANDMEMBER', held, batch), cancels)
local moved, condemned = {}, {}
for i = 1, #found do
  local id = found[i]
  local charged = named[id]
  local known = redis.call('HGET', crashes, id)
  if charge == 'all' then
    -- A suspect is charged only if it was announced. One seen for the first time may have been running: it becomes a suspect.
    charged = not known or redis.call('SISMEMBER', started, id) == 1
  end
  local times, since = 0, now
  if known then
    local t, s = string.match(known, '^(%d+):(%d+)$')
    if t and now - tonumber(s) < window then
      times, since = tonumber(t), tonumber(s)
    end
  end
  if charged and times < limit then
    times = times + 1
    redis.call('HSET', crashes, id, times .. ':' .. string.format('%.0f', since))
    redis.call('SREM', started, id) -- a recovery that runs again does not charge again
  end
  if times >= limit then
    condemned[#condemned + 1] = id
  else
    moved[#moved + 1] = id
  end
end
if #moved > 0 then
  table.sort(moved) -- a set has no order, ids have: arrival
  if order == 'lifo' then
    local reversed = {}
    for i = #moved, 1, -1 do
      reversed[#reversed + 1] = moved[i]
    end
    moved = reversed
  end
  ring(bell)
  stand(moved, order, ready, ranked, rank_of)
  redis.call('SREM', held, unpack(moved))
end
local envelopes, tried = {}, {}
if #condemned > 0 then
  envelopes = redis.call('HMGET', jobs, unpack(condemned))
  tried = redis.call('HMGET', tries, unpack(condemned))
end
redis.call('LLEN', bell) -- a key of the wrong type must show before jobs end
redis.call('SCARD', holders)
local kept = redis.call('GET', timer)
end_asked(asked, stem, held, cancels, jobs, rank_of, tries, crashes, done)
local cancelled = {}
for id in pairs(asked) do
  cancelled[#cancelled + 1] = id
end
local left = redis.call('SCARD', held)
if left == 0 then
  redis.call('SREM', holders, holder)
  redis.call('DEL', started, settled) -- it holds nothing any more: what it says late is refused
end
if kept and string.sub(kept, 1, #holder + 1) == holder .. ' ' then
  redis.call('DEL', timer)
  ring(bell)
end
return { left, moved, condemned, envelopes, tried, cancelled }
