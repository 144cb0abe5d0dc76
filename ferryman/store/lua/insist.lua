#!lua flags=allow-oom
-- One write that a full Redis must not refuse: what workers say about themselves, a few bytes each.
--
-- KEYS  key
-- ARGV  command, then its words after the key...
-- REPLY the command's own
-- COST  the command's own
local key = KEYS[1]
return redis.call(ARGV[1], key, unpack(ARGV, 2))
