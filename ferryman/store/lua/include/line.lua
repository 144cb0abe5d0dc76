-- @include chunks
-- stand(ids, at_head, ready_key, ranked_key, rank_key): put ids into the line of their queue, ranked ones at their rank.
-- at_head: the next to be fetched (jobs given back) instead of the last (jobs that come due).
local function stand(ids, at_head, ready_key, ranked_key, rank_key)
  if #ids == 0 then
    return
  end
  local plain = ids
  if redis.call('EXISTS', rank_key) == 1 then
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
  if at_head then
    local reversed = {}
    for i = #plain, 1, -1 do
      reversed[#reversed + 1] = plain[i]
    end
    chunked('RPUSH', ready_key, reversed)
  else
    chunked('LPUSH', ready_key, plain)
  end
end
