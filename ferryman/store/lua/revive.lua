#!lua flags=allow-oom
-- Give waiting or dead jobs their turn now: dead letters are revived with all their attempts, delayed ones need not wait.
--
-- KEYS  dead delayed retries ready ranked rank tries bell, then one `attempts` key for each job
-- ARGV  kept_ms  how long a revived job's records of failed attempts stay, unless it fails again
--       ids...
-- REPLY ids that were moved
-- COST  O(ids * log(queue))
-- KEEPS one-place
-- @include ring
-- @include line
local dead, delayed, retries, ready, ranked, rank_of, tries, bell =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local kept = ARGV[1]

local moved, place_of = {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  for _, place in ipairs({ dead, delayed, retries }) do
    if not place_of[id] and redis.call('ZSCORE', place, id) then
      place_of[id] = place
      moved[#moved + 1] = id
    end
  end
end
if #moved == 0 then
  return moved
end
redis.call('HLEN', tries) -- a key of the wrong type must show before anything has moved
ring(bell)
stand(moved, 'last', ready, ranked, rank_of)
for i = 2, #ARGV do
  local place = place_of[ARGV[i]]
  if place then
    redis.call('ZREM', place, ARGV[i])
    if place == dead then
      redis.call('HDEL', tries, ARGV[i])
      -- With its tries forgotten, nothing would tell the ack that there are records to delete.
      redis.call('PEXPIRE', KEYS[7 + i], kept)
    end
  end
end
return moved
