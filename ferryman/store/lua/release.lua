#!lua flags=allow-oom
-- Give held jobs back, uncharged, to the head of their line: a worker that stops, or that fetched more than it can run.
--
-- KEYS  held ready ranked rank bell cancels jobs tries crashes done settled
-- ARGV  lane number   which of the holder's calls this is; lane '': it is not numbered
--       order    'fifo' | 'lifo': where the head of the line is
--       stem     what `result:<id>` begins with, for jobs that end here
--       ids...   the first is the next to be fetched
-- REPLY {held, refused ids...}; of a call that was carried out before, none is refused
-- COST  O(ids)
-- KEEPS one-place; ownership; a job that was asked to be cancelled ends instead
-- @include ring
-- @include line
-- @include own
-- @include asked
-- @include once
local held, ready, ranked, rank_of, bell, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local jobs, tries, crashes, done, settled = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local lane, number = ARGV[1], ARGV[2]
local order, stem = ARGV[3], ARGV[4]

if carried_out(settled, lane, number) then
  return { redis.call('SCARD', held) }
end

local owned, refused = own(held, { unpack(ARGV, 5) })
local back, asked = asked_of(owned, cancels)
if #back > 0 then
  ring(bell)
  stand(back, order, ready, ranked, rank_of)
  redis.call('SREM', held, unpack(back))
end
end_asked(asked, stem, held, cancels, jobs, rank_of, tries, crashes, done)
remember(settled, lane, number)
return { redis.call('SCARD', held), unpack(refused) }
