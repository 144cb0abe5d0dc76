#!lua flags=allow-oom
-- What does this holder hold? Asked after a reply was lost, or when the count does not fit what is in hand.
--
-- KEYS  held jobs tries crashes
-- ARGV  (none)
-- REPLY {ids, envelopes, tries, crashes}
-- COST  O(held)
local held, jobs, tries, crashes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ids = redis.call('SMEMBERS', held)
local envelopes, tried, crashed = {}, {}, {}
for first = 1, #ids, 4000 do
  local last = math.min(first + 3999, #ids)
  local bodies = redis.call('HMGET', jobs, unpack(ids, first, last))
  local made = redis.call('HMGET', tries, unpack(ids, first, last))
  local lost = redis.call('HMGET', crashes, unpack(ids, first, last))
  for i = 1, #bodies do
    envelopes[#envelopes + 1] = bodies[i]
    tried[#tried + 1] = made[i]
    crashed[#crashed + 1] = lost[i]
  end
end
return { ids, envelopes, tried, crashed }
