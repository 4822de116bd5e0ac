// A websocket that comes back by itself.

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 5000;
const LONGEST_SILENCE = 20000; // a connection cut without a word looks like silence

// Beside the page, wherever a proxy has put it.
export const STREAM = new URL("ws", document.baseURI).href.replace(/^http/, "ws");

// Why nobody is let in, which a browser does not tell of a websocket; "" where that is not the reason.
export async function refusal(query) {
  const answer = await fetch(`ws?${new URLSearchParams(query)}`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
  return answer && [403, 503].includes(answer.status) ? (await answer.json().catch(() => ({}))).error ?? "" : "";
}

function leave(socket) {
  socket.onopen = socket.onmessage = socket.onclose = null;
  if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
  else socket.close();
}

// Calls onFrame(object), onOpen() and onLost(); returns a function that ends it for good.
export function listen(query, { onFrame, onOpen, onLost }) {
  const address = `${STREAM}?${new URLSearchParams(query)}`;
  let ceiling = FIRST_PAUSE;
  let socket = null;
  let timer = 0;
  let ended = false;

  function expectSound() {
    clearTimeout(timer);
    timer = setTimeout(lose, LONGEST_SILENCE);
  }

  function lose() {
    clearTimeout(timer);
    leave(socket);
    if (ended) return;
    onLost();
    // Drawn from the upper half, so that many pages do not return in the same instant.
    timer = setTimeout(open, ceiling * (0.5 + Math.random() / 2));
    ceiling = Math.min(LONGEST_PAUSE, ceiling * 2);
  }

  function open() {
    socket = new WebSocket(address);
    expectSound();
    socket.onopen = onOpen;
    socket.onclose = lose;
    socket.onmessage = (message) => {
      ceiling = FIRST_PAUSE;
      expectSound();
      onFrame(JSON.parse(message.data));
    };
  }

  open();
  return () => {
    ended = true;
    lose();
  };
}
