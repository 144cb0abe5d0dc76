#!lua flags=allow-oom
-- Lead the schedulers, or go on leading, if nobody else does.
--
-- KEYS  leader token
-- ARGV  scheduler lease_ms
-- REPLY {now_ms, token, left_ms}
--       token    under which the caller leads; 0: another does
--       left_ms  how long the present leader's lease lasts
-- COST  O(1)
-- KEEPS every new leadership has a higher token than all before it
-- @include now
local leader, token = KEYS[1], KEYS[2]
local scheduler, lease = ARGV[1], ARGV[2]
local held = redis.call('GET', leader)
if held then
  local number, holder = string.match(held, '^(%d+) (.+)$')
  if holder == scheduler then
    redis.call('PEXPIRE', leader, lease)
    return { now_ms(), tonumber(number), tonumber(lease) }
  end
  if holder then
    return { now_ms(), 0, math.max(redis.call('PTTL', leader), 1) }
  end
end
local number = redis.call('INCRBY', token, 1)
redis.call('SET', leader, string.format('%.0f', number) .. ' ' .. scheduler, 'PX', lease)
return { now_ms(), number, tonumber(lease) }
