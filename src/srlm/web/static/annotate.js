// Keys on a ballot: a digit votes, s skips, u undoes. Without this file everything works by its forms.
const form = document.getElementById('vote');
const undo = document.getElementById('undo');
const keys = document.getElementById('keys-on');
const shown = performance.now();
const SETTLING = 300; // milliseconds: the second half of a double press must not vote on the next ballot
let sent = false;

document.getElementById('keys').hidden = false;
for (const key of form.querySelectorAll('kbd')) key.hidden = false;
keys.checked = sessionStorage.getItem('keys') !== 'off';
keys.addEventListener('change', () => sessionStorage.setItem('keys', keys.checked ? 'on' : 'off'));

function send(name) {
  form.querySelector(`button[value="${name}"]`).click();
}

document.addEventListener('keydown', (event) => {
  const writing = event.target.closest('textarea, select, input[type=text]');
  if (!keys.checked || writing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (form.dataset.keys.includes(event.key)) {
    event.preventDefault();
    form.querySelector(`input[name=choice][value="${event.key}"]`).checked = true;
    send('vote');
  } else if (event.key === 's') {
    send('skipped');
  } else if (event.key === 'u' && undo) {
    undo.requestSubmit();
  }
});

for (const each of [form, undo]) {
  each?.addEventListener('submit', (event) => {
    if (sent || performance.now() - shown < SETTLING) event.preventDefault();
    else sent = true;
  });
}
window.addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload(); // back from the next ballot: show what was saved
});
