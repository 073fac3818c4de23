/**
 * What `connect` uses of livekit-client's Room. Described here, and not imported: a page's own version of livekit-client
 * then fits, and a page that loads livekit-client late does not load it because of this package.
 */
export interface InterviewRoom<Microphone> {
  connect(url: string, token: string): Promise<void>;
  disconnect(): Promise<void>;
  readonly localParticipant: { publishTrack(track: Microphone): Promise<unknown> };
}

/**
 * Connect a livekit-client Room and publish the candidate's microphone. If either fails the room is left again.
 *
 * The microphone is that of livekit-client's `createLocalAudioTrack()`. Ask for it first, in the click itself: Safari
 * on an iPhone refuses without asking once the page has waited for something else. A bare MediaStreamTrack does not
 * fit, as it does not say that it is a microphone, and the candidate's token allows nothing unnamed.
 */
export async function connect<Microphone extends { readonly source: string }>(
  room: InterviewRoom<NoInfer<Microphone>>,
  { serverUrl, participantToken }: { readonly serverUrl: string; readonly participantToken: string },
  microphone: Microphone,
): Promise<void> {
  try {
    await room.connect(serverUrl, participantToken);
    await room.localParticipant.publishTrack(microphone);
  } catch (error) {
    await room.disconnect();
    throw error;
  }
}
