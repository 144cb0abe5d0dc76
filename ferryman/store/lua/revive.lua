#!lua flags=allow-oom
-- Give waiting or dead jobs their turn now: dead letters are revived with all their attempts, delayed ones need not wait.
--
-- KEYS  dead delayed retries ready ranked rank tries bell
-- ARGV  ids...
-- REPLY ids that were moved
-- COST  O(ids * log(queue))
-- KEEPS one-place
-- @include ring
-- @include line
local dead, delayed, retries, ready, ranked, rank_of, tries, bell =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local moved = {}
for i = 1, #ARGV do
  local id = ARGV[i]
  if redis.call('ZREM', dead, id) == 1 then
    redis.call('HDEL', tries, id)
    moved[#moved + 1] = id
  elseif redis.call('ZREM', delayed, id) + redis.call('ZREM', retries, id) > 0 then
    moved[#moved + 1] = id
  end
end
if #moved > 0 then
  stand(moved, false, ready, ranked, rank_of)
  ring(bell)
end
return moved
