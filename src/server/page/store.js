// Conversations and attachments in the browser's database; in memory where there is none (private windows), and then
// only until the tab closes.
import {attachment_ids} from "./conversation.js";

const kDatabase = "lapidary";

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

class MemoryTable {
  rows = new Map();
  async get(id) { return structuredClone(this.rows.get(id)); }
  async all() { return [...this.rows.values()].map((row) => structuredClone(row)); }
  async put(row) { this.rows.set(row.id, structuredClone(row)); }
  async remove(id) { this.rows.delete(id); }
}

class DatabaseTable {
  constructor(database, name) {
    this.database = database;
    this.name = name;
  }
  table(mode) { return this.database.transaction(this.name, mode).objectStore(this.name); }
  get(id) { return done(this.table("readonly").get(id)); }
  all() { return done(this.table("readonly").getAll()); }
  put(row) { return done(this.table("readwrite").put(row)); }
  remove(id) { return done(this.table("readwrite").delete(id)); }
}

async function open_database() {
  const request = indexedDB.open(kDatabase, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("conversations", {keyPath: "id"});
    request.result.createObjectStore("blobs", {keyPath: "id"});
  };
  return done(request);
}

export class Store {
  static async open() {
    const store = new Store();
    try {
      const database = await open_database();
      store.conversations = new DatabaseTable(database, "conversations");
      store.blobs = new DatabaseTable(database, "blobs");
      store.lasting = true;
    } catch {
      store.conversations = new MemoryTable();
      store.blobs = new MemoryTable();
      store.lasting = false;
    }
    store.cache = new Map();  // blobs of this session
    return store;
  }

  async list() {
    return (await this.conversations.all()).sort((a, b) => b.updated - a.updated);
  }

  save(conversation) {
    return this.conversations.put(conversation);
  }

  async remove(conversation) {
    await this.conversations.remove(conversation.id);
    for (const id of attachment_ids(conversation)) {
      this.cache.delete(id);
      await this.blobs.remove(id);
    }
  }

  async save_blob(id, blob) {
    this.cache.set(id, blob);
    await this.blobs.put({id, blob});
  }

  async blob(id) {
    if (!this.cache.has(id)) {
      const row = await this.blobs.get(id);
      if (row) this.cache.set(id, row.blob);
    }
    return this.cache.get(id) ?? null;
  }
}
