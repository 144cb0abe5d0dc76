"""The three scripts of the floor. Bodies lie in a hash, ids in a list, what is being worked on in a set."""

ENQUEUE = """
local ready, jobs, bell = KEYS[1], KEYS[2], KEYS[3]
local ids = {}
for at = 1, #ARGV, 2 do
  ids[#ids + 1] = ARGV[at]
end
redis.call('HSET', jobs, unpack(ARGV))
redis.call('LPUSH', ready, unpack(ids))
if redis.call('LLEN', bell) == 0 then
  redis.call('LPUSH', bell, '1')
end
"""
"""ARGV: id, body, id, body ...: at most 500 pairs."""

FETCH = """
local ready, jobs, bell, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ids = redis.call('RPOP', ready, ARGV[1])
if not ids then
  return nil
end
redis.call('SADD', held, unpack(ids))
if redis.call('LLEN', ready) > 0 and redis.call('LLEN', bell) == 0 then
  redis.call('LPUSH', bell, '1')
end
return {ids, redis.call('HMGET', jobs, unpack(ids))}
"""

ACK = """
local jobs, held = KEYS[1], KEYS[2]
redis.call('SREM', held, unpack(ARGV))
redis.call('HDEL', jobs, unpack(ARGV))
"""

READY, JOBS, BELL, HELD = "{bench}:ready", "{bench}:jobs", "{bench}:bell", "{bench}:held:"
BATCH = 500
