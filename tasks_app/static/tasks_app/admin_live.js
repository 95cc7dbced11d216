/* Keeps status and progress of the tasks on an admin page as they are, by the websocket that the dashboard uses. */
'use strict';
{
  const AGAIN_MS = 2000;
  const SESSION_ENDED = 4401;

  const cells = (task, what) => document.querySelectorAll(`[data-task="${task.id}"][data-shows="${what}"]`);

  const facts = (progress) =>
    Object.entries(progress)
      .filter(([, value]) => typeof value !== 'object' || value === null || Array.isArray(value))
      .map(([name, value]) => `${name} ${JSON.stringify(value)}`)
      .join(', ');

  function show(task) {
    for (const cell of cells(task, 'status')) {
      cell.textContent = task.stopping ? 'stopping' : task.status;
      cell.className = `task-status is-${task.status}`;
    }
    for (const cell of cells(task, 'progress')) cell.textContent = facts(task.progress);
  }

  function connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const socket = new WebSocket(`${scheme}://${location.host}/ws/live`);
    socket.onopen = () => socket.send(JSON.stringify({ type: 'subscribe', topic: 'tasks' }));
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.topic !== 'tasks') return;
      (message.type === 'snapshot' ? message.tasks : [message.task]).forEach(show);
    };
    socket.onclose = (event) => {
      if (event.code !== SESSION_ENDED) setTimeout(connect, AGAIN_MS);
    };
  }

  document.addEventListener('DOMContentLoaded', () => {
    if (document.querySelector('[data-task]')) connect();
  });
}
