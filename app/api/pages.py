"""The pages for people: what is where, and Swagger, which needs no internet."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

from app.interviews.demo import DEMO_ID

router = APIRouter(include_in_schema=False)

SWAGGER = files("fastapi_offline") / "static"
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PLAIN = SAFE | {"Content-Security-Policy": f"{NOTHING}; style-src 'unsafe-inline'"}
# Swagger's own: it writes styles into elements, has its pictures in the style sheet, and calls this service.
INTERACTIVE = SAFE | {
    "Content-Security-Policy": f"{NOTHING}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'"
}
LASTING = SAFE | {"Cache-Control": "public, max-age=86400"}

STYLE = """\
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
pre { background: #f3f3f3; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere; }
"""
INDEX = f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Interviews on LiveKit</title>
<style>
{STYLE}</style>
</head>
<body>
<h1>Interviews on LiveKit</h1>
<p>Candidates, AI interviewers and recruiters in one LiveKit room, and a status that is true.</p>
<ul>
<li><a href="docs">docs</a>: every call, to read and to try</li>
<li><a href="openapi.json">openapi.json</a>: the same for generators of clients</li>
<li><a href="health/ready">health/ready</a>: whether this service is ready</li>
</ul>
<p>A candidate joins: the answer has all that livekit-client needs.</p>
<pre>curl -sS -X POST http://127.0.0.1:8000/interviews/{DEMO_ID}/join</pre>
<p>A recruiter reads the status. <code>ik_local</code> is the key of a local start.</p>
<pre>curl -sS -H "Authorization: Bearer ik_local" http://127.0.0.1:8000/interviews/{DEMO_ID}</pre>
<p>A hiring platform schedules an interview of its own.</p>
<pre>curl -sS -X POST http://127.0.0.1:8000/interviews \\
  -H "Authorization: Bearer ik_local" -H "Content-Type: application/json" \\
  -d '{{"candidateId": "cand-1", "applicationId": "app-1", "jobPostId": "job-1",
       "jobTitle": "Backend Developer", "companyName": "MENA Bank", "phoneNumber": "+966 50 987 6543"}}'</pre>
</body>
</html>
"""
DOCS = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Interviews on LiveKit: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# In a file of its own, so that the page needs no script inside it.
START = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
"""


@router.get("/")
async def index() -> HTMLResponse:
    return HTMLResponse(INDEX, headers=PLAIN)


@router.get("/docs")
async def docs() -> HTMLResponse:
    return HTMLResponse(DOCS, headers=INTERACTIVE)


@router.get("/docs/start.js")
async def start() -> HTMLResponse:
    return HTMLResponse(START, headers=SAFE, media_type="text/javascript")


@router.get("/docs/swagger-ui-bundle.js")
async def script() -> FileResponse:
    return FileResponse(str(SWAGGER / "swagger-ui-bundle.js"), headers=LASTING, media_type="text/javascript")


@router.get("/docs/swagger-ui.css")
async def styles() -> FileResponse:
    return FileResponse(str(SWAGGER / "swagger-ui.css"), headers=LASTING, media_type="text/css")
