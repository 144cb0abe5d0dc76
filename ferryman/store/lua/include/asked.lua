-- asked_of(ids, cancels_key): of ids that a holder holds, those that go where they are sent, and { id = what it leaves behind } of
-- those that somebody asked to cancel: they never start again. Nearly always nobody did, and this is one look.
local function asked_of(ids, cancels_key)
  if #ids == 0 or redis.call('HLEN', cancels_key) == 0 then
    return ids, {}
  end
  local requests = redis.call('HMGET', cancels_key, unpack(ids))
  local others, asked = {}, {}
  for i = 1, #ids do
    if requests[i] then
      asked[ids[i]] = requests[i]
    else
      others[#others + 1] = ids[i]
    end
  end
  return others, asked
end

-- end_asked(asked, stem, held_key, cancels_key, jobs_key, rank_key, tries_key, crashes_key, done_channel): those jobs end, cancelled.
-- Whatever can fail comes before the jobs leave.
local function end_asked(asked, stem, held_key, cancels_key, jobs_key, rank_key, tries_key, crashes_key, done_channel)
  for id, request in pairs(asked) do
    local space = string.find(request, ' ', 1, true)
    for _, of_few in ipairs({ rank_key, tries_key, crashes_key }) do
      redis.call('HDEL', of_few, id)
    end
    redis.call('HDEL', jobs_key, id)
    redis.call('SREM', held_key, id)
    redis.call('HDEL', cancels_key, id)
    redis.call('UNLINK', stem .. 'attempts:' .. id)
    local ttl, record = string.sub(request, 1, space - 1), string.sub(request, space + 1)
    if record ~= '' then
      redis.call('SET', stem .. 'result:' .. id, record, 'PX', ttl)
      redis.call('PUBLISH', done_channel, id)
    end
  end
end
