#!lua flags=allow-oom
-- Finish jobs: they leave Redis, and what they returned stays behind for as long as their task wants.
--
-- KEYS  jobs held rank tries crashes stats done started cancels settled, then one `result` key for each result, then one `attempts` key for each history
-- ARGV  lane number    which of the holder's calls this is; lane '': it is not numbered
--       count fields results histories   how many of each follow
--       ids...            the results' jobs first, in the order of their keys
--       field, by ...     counters for `stats`; counted if any job was finished, or if none was named
--       ttl_ms, record    for each result
--       id, ttl_ms        for each history: how long the records of failed attempts stay; 0: they go
-- REPLY {held, refused ids...}; of a call that was carried out before, none is refused
-- COST  O(ids)
-- KEEPS an ack by a holder that does not hold the job changes nothing of the job; a numbered call counts once
-- @include own
-- @include once
local jobs, held, rank_of, tries, crashes, stats, done, started, cancels, settled =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local lane, number = ARGV[1], ARGV[2]
local count, fields, results, histories = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local at = 7

if carried_out(settled, lane, number) then
  return { redis.call('SCARD', held) }
end

local owned, refused = own(held, { unpack(ARGV, at, at + count - 1) })
local ids = { unpack(ARGV, at, at + results - 1) }
at = at + count
local mine
if #refused > 0 then
  mine = {}
  for i = 1, #owned do
    mine[owned[i]] = true
  end
end
if #owned > 0 then
  -- Whatever can fail (a key of the wrong type) comes before the jobs leave: an error must leave them held, to be acked again.
  for _, of_few in ipairs({ rank_of, tries, crashes, cancels }) do
    if redis.call('HLEN', of_few) > 0 then
      redis.call('HDEL', of_few, unpack(owned))
      if of_few == crashes then
        redis.call('SREM', started, unpack(owned))
      end
    end
  end
end
if fields > 0 and (#owned > 0 or count == 0) then -- a repeated call counts nothing twice
  for i = at, at + fields * 2 - 1, 2 do
    redis.call('HINCRBY', stats, ARGV[i], ARGV[i + 1])
  end
  redis.call('EXPIRE', stats, 259200)
end
if #owned > 0 then
  redis.call('HDEL', jobs, unpack(owned))
  redis.call('SREM', held, unpack(owned))
end
at = at + fields * 2

local ended = {}
for i = 1, results do
  if not mine or mine[ids[i]] then
    redis.call('SET', KEYS[10 + i], ARGV[at + 1], 'PX', ARGV[at])
    ended[#ended + 1] = ids[i]
  end
  at = at + 2
end
if #ended > 0 then
  redis.call('PUBLISH', done, table.concat(ended, ' '))
end

for i = 1, histories do
  if not mine or mine[ARGV[at]] then
    redis.call('PEXPIRE', KEYS[10 + results + i], ARGV[at + 1]) -- a TTL of 0 deletes
  end
  at = at + 2
end
remember(settled, lane, number)
return { redis.call('SCARD', held), unpack(refused) }
