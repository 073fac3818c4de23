import { joinInterview, ProblemError } from "/client/dist/index.js";

// The names that the seed's function uses: the state of a React component, and a room of livekit-client.
let joinResponse = null;
let phoneNumber = "";
const room = new LivekitClient.Room();

// The state that the tests read.
window.state = { statuses: ["ready"], error: null, isCallActive: false, disconnectReason: null, consoleErrors: [] };
window.room = room;

const setError = (error) => {
  window.state.error = error;
};
const setInterviewStatus = (status) => {
  window.state.statuses.push(status);
  document.getElementById("status").textContent = status;
};
const setIsCallActive = (isCallActive) => {
  window.state.isCallActive = isCallActive;
};

const consoleError = console.error;
console.error = (...parts) => {
  window.state.consoleErrors.push(parts.map(String).join(" "));
  consoleError(...parts);
};
window.addEventListener("error", (event) => window.state.consoleErrors.push(`uncaught: ${event.message}`));
window.addEventListener("unhandledrejection", (event) => window.state.consoleErrors.push(`unhandled: ${event.reason}`));
room.on(LivekitClient.RoomEvent.Disconnected, (reason) => {
  window.state.disconnectReason = LivekitClient.DisconnectReason[reason] ?? null;
});

// begin of the seed's text
const startInterview = async () => {
  if (!joinResponse) {
    setError("No interview session available");
    return;
  }

  setInterviewStatus("connecting");
  try {
    // Connect to the room first
    await room.connect(joinResponse.serverUrl, joinResponse.participantToken);

    // Enable microphone
    await room.localParticipant.setMicrophoneEnabled(true);

    // Set participant metadata with ALL interview details
    const participantMetadata = {
      candidateId: joinResponse.candidateId,
      participantName: joinResponse.participantName,
      phoneNumber: phoneNumber,
      jobTitle: joinResponse.jobTitle,
      interviewId: joinResponse.interviewId,
      applicationId: joinResponse.applicationId,
      jobPostId: joinResponse.jobPostId,
      companyName: joinResponse.companyName,
      instructions: joinResponse.instructions,
      maxDuration: joinResponse.maxDuration,
      status: joinResponse.status,
    };

    // Set the participant metadata for the agent to access
    await room.localParticipant.setMetadata(
      JSON.stringify(participantMetadata)
    );

    setIsCallActive(true);
    setInterviewStatus("waiting");

    setTimeout(() => {
      setInterviewStatus("active");
    }, 3000);
  } catch (err) {
    console.error(err);
    setError("Failed to connect to interview");
    setInterviewStatus("ready");
  }
};
// end of the seed's text

// Starts with this joinResponse.
window.start = async (response, phone) => {
  joinResponse = response;
  phoneNumber = phone;
  await startInterview();
};

// Joins by clients/typescript and starts; resolves to the service's answer.
window.join = async (service, interviewId, phoneNumber) => {
  try {
    const body = await joinInterview({ service, interviewId, credentials: { phoneNumber } });
    await window.start(body, phoneNumber);
    return { status: 200, body };
  } catch (error) {
    if (!(error instanceof ProblemError)) {
      throw error;
    }
    setError(error.detail);
    return { status: error.status, body: error.problem };
  }
};

// As LiveKit's components do: credentials from the standard token endpoint, fetched ahead.
window.joinByTokenSource = async (serviceUrl, interviewId, options) => {
  const source = LivekitClient.TokenSource.endpoint(`${serviceUrl}/interviews/${interviewId}/token`, {
    headers: { "X-Session": "from-the-page" },
  });
  try {
    await source.fetch(options);
    const { serverUrl, participantToken } = await source.fetch(options);
    await room.connect(serverUrl, participantToken);
    await room.localParticipant.setMicrophoneEnabled(true);
  } catch (err) {
    setError(err.message);
  }
};

window.leave = () => room.disconnect();

document.getElementById("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  window.join(form.get("service"), form.get("interview"), form.get("phone"));
});
