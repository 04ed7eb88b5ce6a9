// An OPC UA client of another author: node-opcua (npm).
//
// `node opcua_client.js ENDPOINT FOLDER POLICY USER PASSWORD` connects, says {"ready": true} or {"error": TEXT},
// then answers each line of its input with one line. FOLDER holds client.pem, key.pem and its own store of
// certificates; POLICY is None, Basic256Sha256 or Aes256_Sha256_RsaPss. Events come as {"event": …}.
"use strict";
const path = require("node:path");
const readline = require("node:readline");

const modules = path.join(__dirname, "..", "..", ".venv", "node", "node_modules");
const need = (name) => require(require.resolve(name, { paths: [modules] }));
const opcua = need("node-opcua-client");
const { OPCUACertificateManager } = need("node-opcua-certificate-manager");
const { promoteOpaqueStructure } = need("node-opcua-client-dynamic-extension-object");

// Its own log would stand between our lines.
console.log = console.warn = console.error = () => {};
const say = (what) => process.stdout.write(`${JSON.stringify(what, plain)}\n`);
const plain = (key, value) =>
    value && value.type === "Buffer" ? Buffer.from(value.data).toString("hex") : value;
const MODEL = "http://opcfoundation.org/UA/MachineVision";
const EVENT_FIELDS = [
    "EventType", "SourceName", "Message", "ResultId", "IsPartial", "IsSimulated", "ResultState", "MeasId",
    "PartId", "InternalRecipeId", "InternalConfigurationId", "JobId", "CreationTime", "ProcessingTimes",
    "ResultContent", "FromState", "ToState", "Transition", "InternalId",
];
const OF_BASE = new Set(["EventType", "SourceName", "Message", "FromState", "ToState", "Transition"]);

async function main() {
    const [endpoint, folder, policy, userName, password] = process.argv.slice(2);
    const clientCertificateManager = new OPCUACertificateManager({
        automaticallyAcceptUnknownCertificate: true,
        rootFolder: path.join(folder, "pki"),
    });
    await clientCertificateManager.initialize();
    const none = policy === "None";
    const client = opcua.OPCUAClient.create({
        applicationName: "test",
        applicationUri: "urn:test:client",
        clientCertificateManager,
        certificateFile: path.join(folder, "client.pem"),
        privateKeyFile: path.join(folder, "key.pem"),
        securityMode: none ? opcua.MessageSecurityMode.None : opcua.MessageSecurityMode.SignAndEncrypt,
        securityPolicy: opcua.SecurityPolicy[policy],
        endpointMustExist: false,
        connectionStrategy: { maxRetry: 0, initialDelay: 10, maxDelay: 20 },
    });
    await client.connect(endpoint);
    if (userName === "-") {
        const endpoints = await client.getEndpoints();
        say({ endpoints: endpoints.map((one) => [one.securityPolicyUri.split("#")[1], one.securityMode]) });
        await client.disconnect();
        return;
    }
    const identity = userName
        ? { type: opcua.UserTokenType.UserName, userName, password }
        : { type: opcua.UserTokenType.Anonymous };
    const session = await client.createSession(identity);
    const index = (await session.readNamespaceArray()).indexOf(MODEL);
    const find = async (names) => {
        let node = opcua.resolveNodeId("ObjectsFolder");
        for (const name of names) {
            const found = await session.browse({
                nodeId: node, browseDirection: opcua.BrowseDirection.Forward, resultMask: 63,
                referenceTypeId: opcua.resolveNodeId("HierarchicalReferences"), includeSubtypes: true,
            });
            const one = found.references.find((reference) => reference.browseName.name === name);
            if (!one) throw new Error(`no ${name}`);
            node = one.nodeId;
        }
        return node;
    };
    const structure = (number, fields) =>
        session.constructExtensionObject(opcua.coerceNodeId(`ns=${index};i=${number}`), fields);
    const argument = async ({ kind, value }) => {
        if (typeof kind === "number") {
            return { dataType: opcua.DataType.ExtensionObject, value: await structure(kind, value) };
        }
        return { dataType: opcua.DataType[kind], value };
    };
    const commands = {
        async read({ names }) {
            const found = await session.read({ nodeId: await find(names), attributeId: 13 });
            await promoteOpaqueStructure(session, [found.value]);
            return { status: found.statusCode.name, value: found.value.value };
        },
        async write({ names, value }) {
            const done = await session.write({
                nodeId: await find(names), attributeId: 13, value: { value: { dataType: "String", value } },
            });
            return { status: done.name };
        },
        async call({ owner, method, given }) {
            const done = await session.call({
                objectId: await find(owner), methodId: await find([...owner, method]),
                inputArguments: await Promise.all((given || []).map(argument)),
            });
            const outputs = done.outputArguments || [];
            await promoteOpaqueStructure(session, outputs);
            return { status: done.statusCode.name, outputs: outputs.map((one) => one.value) };
        },
        async subscribe() {
            const subscription = await session.createSubscription2({
                requestedPublishingInterval: 20, requestedLifetimeCount: 1000,
                requestedMaxKeepAliveCount: 20, publishingEnabled: true,
            });
            const fields = EVENT_FIELDS.map((name) => (OF_BASE.has(name) ? name : `${index}:${name}`));
            const item = await subscription.monitor(
                { nodeId: opcua.resolveNodeId("Server"), attributeId: opcua.AttributeIds.EventNotifier },
                { queueSize: 1000, discardOldest: true, filter: opcua.constructEventFilter(fields) },
                opcua.TimestampsToReturn.Both,
            );
            let told = Promise.resolve();
            item.on("changed", (values) => {
                told = told.then(async () => {
                    await promoteOpaqueStructure(session, values);
                    say({
                        event: Object.fromEntries(
                            EVENT_FIELDS.map((name, place) => [name, values[place].value]),
                        ),
                    });
                });
            });
            return {};
        },
    };
    say({ ready: true });
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const { name, ...rest } = JSON.parse(line);
        try {
            say({ answer: await commands[name](rest) });
        } catch (error) {
            say({ answer: { failed: String(error.message) } });
        }
    }
    await session.close();
    await client.disconnect();
}

main().then(
    () => process.exit(0),
    (error) => {
        say({ error: String(error.message) });
        process.exit(1);
    },
);
