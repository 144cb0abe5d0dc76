-- @include chunks
-- stand(ids, turn, ready_key, ranked_key, rank_key): put ids into the line of their queue, ranked ones at their rank.
-- turn: 'last' (jobs that come due: as if they arrived now) | 'fifo' or 'lifo' (jobs given back: next to be fetched, the first id
-- first, from a queue that is worked in that order). An error leaves everything where it was.
local function stand(ids, turn, ready_key, ranked_key, rank_key)
  if #ids == 0 then
    return
  end
  local plain = ids
  if redis.call('HLEN', rank_key) > 0 then
    redis.call('LLEN', ready_key) -- a key of the wrong type must show before some of the ids have their new place
    plain = {}
    local ranks = redis.call('HMGET', rank_key, unpack(ids))
    local scored = {}
    for i = 1, #ids do
      if ranks[i] then
        scored[#scored + 1] = ranks[i]
        scored[#scored + 1] = ids[i]
      else
        plain[#plain + 1] = ids[i]
      end
    end
    chunked('ZADD', ranked_key, scored)
  end
  if turn ~= 'last' then
    local reversed = {}
    for i = #plain, 1, -1 do
      reversed[#reversed + 1] = plain[i]
    end
    chunked(turn == 'lifo' and 'LPUSH' or 'RPUSH', ready_key, reversed)
  else
    chunked('LPUSH', ready_key, plain)
  end
end
