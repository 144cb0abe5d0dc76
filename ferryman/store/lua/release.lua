#!lua flags=allow-oom
-- Give held jobs back, uncharged, to the head of their line: a worker that stops, or that fetched more than it can run.
--
-- KEYS  held ready ranked rank bell
-- ARGV  order    'fifo' | 'lifo': where the head of the line is
--       ids...   the first is the next to be fetched
-- REPLY {held, refused ids...}
-- COST  O(ids)
-- KEEPS one-place; ownership
-- @include ring
-- @include line
-- @include own
local held, ready, ranked, rank_of, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local order = ARGV[1]
local owned, refused = own(held, { unpack(ARGV, 2) })
if #owned > 0 then
  ring(bell)
  stand(owned, order, ready, ranked, rank_of)
  redis.call('SREM', held, unpack(owned))
end
return { redis.call('SCARD', held), unpack(refused) }
