-- wrk: uploads every file of IMAGES in turn, as a form field FIELD, or as the body itself with RAW=1.
local boundary = "scratch-benchmark-boundary"
local requests, sent = {}, 0

local function form(field, data)
  return "--" .. boundary .. '\r\nContent-Disposition: form-data; name="' .. field ..
    '"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' .. data ..
    "\r\n--" .. boundary .. "--\r\n"
end

function init()
  for path in io.popen('ls "' .. os.getenv("IMAGES") .. '"/*'):lines() do
    local file = io.open(path, "rb")
    local data = file:read("*a")
    file:close()
    local raw = os.getenv("RAW") == "1"
    local kind = raw and "application/octet-stream" or "multipart/form-data; boundary=" .. boundary
    local body = raw and data or form(os.getenv("FIELD"), data)
    requests[#requests + 1] = wrk.format("POST", os.getenv("ROUTE"), { ["Content-Type"] = kind }, body)
  end
end

function request()
  sent = sent % #requests + 1
  return requests[sent]
end

local refused, threads = 0, {}
function response(status)
  if status ~= 200 then
    refused = refused + 1
    wrk.thread:set("refused", refused)
  end
end
function setup(thread) table.insert(threads, thread) end

function done(summary, latency)
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + (tonumber(thread:get("refused")) or 0) end
  local errors = summary.errors
  io.write(string.format('RESULT {"seconds": %f, "ok": %d, "refused": %d, "errors": %d, ' ..
    '"p50_ms": %f, "p95_ms": %f, "p99_ms": %f}\n',
    summary.duration / 1e6, summary.requests - bad, bad,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
