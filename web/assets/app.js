// Follows the log of a run while it is being written, and shows the page anew when the run goes on to another state.
'use strict';
(function () {
  const run = document.querySelector('[data-live]');
  if (!run || !window.EventSource) return;
  const logs = document.querySelectorAll('[data-follow]');
  const planDone = !document.querySelector('[data-follow][data-phase="plan"]');
  const url = new URL(run.dataset.live, location.href);
  if (planDone) url.searchParams.set('phase', 'apply');
  const source = new EventSource(url);
  const lamps = document.querySelectorAll('.live');
  // Every connection begins with what was written last, so what stood there goes.
  source.addEventListener('open', () => {
    logs.forEach((log) => { log.textContent = ''; });
    lamps.forEach((lamp) => { lamp.hidden = false; });
  });
  source.addEventListener('error', () => lamps.forEach((lamp) => { lamp.hidden = true; }));
  logs.forEach((log) => source.addEventListener(log.dataset.phase, (event) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.insertAdjacentHTML('beforeend', event.data);
    if (atEnd) log.scrollTop = log.scrollHeight;
  }));
  // Pieces come in order, so when the state has changed the log before it is complete.
  const again = (event) => {
    if (event.data === run.dataset.state) return;
    source.close();
    location.reload();
  };
  source.addEventListener('state', again);
  source.addEventListener('end', (event) => { source.close(); again(event); });
})();
