// Makes a personal token at our own address. What comes back is held here until it is dismissed or the page is left,
// and goes nowhere else: not into the state of the pages, not into an address, not into what the browser keeps.
import { useEffect, useRef, useState } from "react";
import { Copy } from "./controls.jsx";

const Icon = ({ name, cls = "" }) => <svg className={`i ${cls}`} aria-hidden="true"><use href={`/glyphs.svg#i-${name}`} /></svg>;
const LIFETIMES = [["7", "In 7 days"], ["30", "In 30 days"], ["90", "In 90 days"], ["365", "In a year"], ["", "Never"]];

function Wrong({ id, text }) {
  return text ? <span className="err" id={id}><Icon name="warn" cls="s14" />{text}</span> : null;
}

function Made({ token, name, onDone }) {
  const box = useRef(null);
  useEffect(() => { box.current?.focus(); box.current?.select(); }, []);
  return <div className="in stack gap14">
    <div className="note ok" role="status"><Icon name="check" /><div className="grow"><b>{name} is made.</b> Copy the token now and keep it like a password. It will not be shown again.</div></div>
    <div className="field"><label htmlFor="made-token">Token</label>
      <div className="row"><input ref={box} id="made-token" className="inp mono grow" readOnly value={token} autoComplete="off" spellCheck="false" onFocus={(e) => e.target.select()} /><Copy text={token} label="Copy the token" word="Copy" className="btn" /></div></div>
    <div><button className="btn" type="button" onClick={onDone}>Done</button></div>
  </div>;
}

export function TokenMaker({ scopes = [] }) {
  const [made, keep] = useState(null), [errors, say] = useState({}), [busy, wait] = useState(false), alive = useRef(true), form = useRef(null), again = useRef(null);
  // A page that the browser keeps for its back button must not keep the token.
  const forget = () => keep(null);
  useEffect(() => { alive.current = true; window.addEventListener("pagehide", forget); return () => { alive.current = false; window.removeEventListener("pagehide", forget); }; }, []);
  useEffect(() => { form.current?.querySelector("[aria-invalid=true]")?.focus(); }, [errors]);
  const send = async (e) => {
    e.preventDefault();
    if (busy) return;
    const f = new FormData(e.currentTarget), days = f.get("expiry");
    wait(true); say({});
    try {
      const answer = await fetch("/api/tokens", {
        method: "POST", headers: { "Content-Type": "application/json" }, cache: "no-store", redirect: "error",
        body: JSON.stringify({ name: f.get("name"), scopes: f.getAll("scopes"), days: days ? Number(days) : null }),
      });
      const told = await answer.json();
      if (!alive.current) return;
      if (answer.ok) keep(told);
      else say({ [["name", "scopes", "expiry"].includes(told.field) ? told.field : "form"]: `${told.title} ${told.detail}`.trim() });
    } catch { if (alive.current) say({ form: "The token could not be made just now. Try again in a moment." }); }
    if (alive.current) wait(false);
  };
  if (made) return <Made token={made.token} name={made.name} onDone={() => { keep(null); setTimeout(() => again.current?.focus()); }} />;
  return <form ref={form} className="in stack gap14" aria-label="New token" noValidate onSubmit={send}>
    {errors.form && <div className="note bad" role="alert"><Icon name="warn" /><div className="grow">{errors.form}</div></div>}
    <div className="token-two">
      <div className="field"><label htmlFor="f-token-name">Name</label>
        <input ref={again} id="f-token-name" name="name" className={errors.name ? "inp wrong" : "inp"} maxLength={100} autoComplete="off" spellCheck="false" aria-invalid={!!errors.name} aria-describedby={errors.name ? "token-name-error" : "token-name-hint"} />
        {errors.name ? <Wrong id="token-name-error" text={errors.name} /> : <span className="hint" id="token-name-hint">What it is for, such as laptop or nightly run.</span>}</div>
      <div className="field"><label htmlFor="f-token-expiry">Expires</label>
        <select id="f-token-expiry" name="expiry" className="inp" defaultValue="90">{LIFETIMES.map(([value, text]) => <option key={text} value={value}>{text}</option>)}</select><Wrong id="token-expiry-error" text={errors.expiry} /></div>
    </div>
    <fieldset aria-describedby={errors.scopes ? "token-scopes-error" : undefined}><legend className="lab">What it may do</legend>
      <div>{scopes.map((s) => <label className="pick" key={s.value}><input type="checkbox" name="scopes" value={s.value} defaultChecked={s.on} /><div><b>{s.name}</b><span>{s.says}</span></div></label>)}</div>
      <div className="field mt6"><Wrong id="token-scopes-error" text={errors.scopes} /></div></fieldset>
    <div><button className="btn go" type="submit" aria-disabled={busy}><Icon name="key" />Make token</button></div>
  </form>;
}
