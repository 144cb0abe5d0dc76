-- ring(bell): wake one idle worker. Only if the bell is silent: a second token would wake a second worker for nothing.
local function ring(bell)
  if redis.call('LLEN', bell) == 0 then
    redis.call('LPUSH', bell, '1')
  end
end
