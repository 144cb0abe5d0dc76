#!lua flags=allow-oom
-- Delete jobs of one place, a batch a call.
--
-- KEYS  place jobs rank tries crashes ghosts
-- ARGV  batch stem type   type: 'list' | 'zset'
-- REPLY {entries taken, jobs deleted}; 0 entries: the place is empty. An entry of a cancelled job is no job.
-- COST  O(batch)
-- KEEPS one-place: bodies go with their places
local place, jobs, rank_of, tries, crashes, ghosts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local batch, stem, kind = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local ids
if kind == 'list' then
  ids = redis.call('LRANGE', place, -batch, -1)
else
  ids = redis.call('ZRANGE', place, 0, batch - 1)
end
if #ids == 0 then
  return { 0, 0 }
end
redis.call('HDEL', rank_of, unpack(ids))
redis.call('HDEL', crashes, unpack(ids))
local tried = redis.call('HMGET', tries, unpack(ids))
for i = 1, #ids do
  if tried[i] then
    redis.call('UNLINK', stem .. 'attempts:' .. ids[i])
  end
end
redis.call('HDEL', tries, unpack(ids))
redis.call('SREM', ghosts, unpack(ids))
local deleted = redis.call('HDEL', jobs, unpack(ids))
if kind == 'list' then
  redis.call('LTRIM', place, 0, -#ids - 1)
else
  redis.call('ZREM', place, unpack(ids))
end
return { #ids, deleted }
