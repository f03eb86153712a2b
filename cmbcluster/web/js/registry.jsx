// Enters an account at a registry at our own address. What is typed goes from here into the request and nowhere else:
// not into the state of the pages, not into an address, not into what the browser keeps.
import { useEffect, useRef, useState } from "react";

const Icon = ({ name, cls = "" }) => <svg className={`i ${cls}`} aria-hidden="true"><use href={`/glyphs.svg#i-${name}`} /></svg>;
const FIELDS = ["registry", "username", "secret"];

function Field({ name, label, hint, errors, children }) {
  const wrong = errors[name];
  return <div className="field grow"><label htmlFor={`f-registry-${name}`}>{label}</label>{children}
    {wrong ? <span className="err" id={`registry-${name}-error`}><Icon name="warn" cls="s14" />{wrong}</span> : <span className="hint" id={`registry-${name}-hint`}>{hint}</span>}</div>;
}

export function RegistryForm({ hosts = [] }) {
  const [errors, say] = useState({}), [busy, wait] = useState(false), [kept, tell] = useState(""), form = useRef(null), alive = useRef(true);
  useEffect(() => { alive.current = true; return () => { alive.current = false; }; }, []);
  useEffect(() => { form.current?.querySelector("[aria-invalid=true]")?.focus(); }, [errors]);
  const send = async (e) => {
    e.preventDefault();
    if (busy) return;
    const at = e.currentTarget, f = new FormData(at);
    wait(true); say({}); tell("");
    try {
      const answer = await fetch("/api/registries", {
        method: "POST", headers: { "Content-Type": "application/json" }, cache: "no-store", redirect: "error",
        body: JSON.stringify(Object.fromEntries(FIELDS.map((name) => [name, f.get(name)]))),
      });
      const told = await answer.json();
      if (!alive.current) return;
      if (answer.ok) { at.reset(); tell(`${told.username} at ${told.registry} is kept.`); }
      else say({ [FIELDS.includes(told.field) ? told.field : "form"]: `${told.title} ${told.detail}`.trim() });
    } catch { if (alive.current) say({ form: "The account could not be kept just now. Try again in a moment." }); }
    if (alive.current) wait(false);
  };
  const box = (name, more) => <input id={`f-registry-${name}`} name={name} className={errors[name] ? "inp wrong" : "inp"} autoComplete="off" spellCheck="false" autoCapitalize="none"
    aria-invalid={!!errors[name]} aria-describedby={`registry-${name}-${errors[name] ? "error" : "hint"}`} {...more} />;
  return <form ref={form} className="in stack gap14" aria-label="New account" noValidate onSubmit={send}>
    {errors.form && <div className="note bad" role="alert"><Icon name="warn" /><div className="grow">{errors.form}</div></div>}
    <Field name="registry" label="Registry" hint="Where the images are." errors={errors}>
      <select id="f-registry-registry" name="registry" className={errors.registry ? "inp wrong" : "inp"} aria-invalid={!!errors.registry} aria-describedby={`registry-registry-${errors.registry ? "error" : "hint"}`}>
        {hosts.map((host) => <option key={host} value={host}>{host}</option>)}</select></Field>
    <div className="registry-two">
      <Field name="username" label="User name" hint="The one you sign in there with." errors={errors}>{box("username", { maxLength: 300 })}</Field>
      <Field name="secret" label="Password or token" hint="Best a token that may only read." errors={errors}>{box("secret", { type: "password", autoComplete: "new-password" })}</Field></div>
    <div className="row gap12 wrap"><button className="btn go" type="submit" aria-disabled={busy}><Icon name="plus" />Add account</button><span role="status" className="sm ok-t">{kept}</span></div>
  </form>;
}
