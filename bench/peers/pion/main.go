// A relay of calls as one would write it with pion: it answers an application's offer, makes one of its own to the provider,
// and passes packets of sound and messages from one to the other. It meters nothing. `scripts/bench calls` measures it beside
// tokenist.
//
//	pion -listen 127.0.0.1:8090 -provider http://127.0.0.1:9090
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// The one codec of the load.
var codec = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "where calls are asked for")
	provider := flag.String("provider", "", "origin of the provider")
	flag.Parse()
	relay := relay{api: newAPI(), origin: *provider}
	log.Fatal(http.ListenAndServe(*listen, http.HandlerFunc(relay.serve)))
}

// newAPI has pion's usual codecs and interceptors, and loopback alone.
func newAPI() *webrtc.API {
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	return webrtc.NewAPI(webrtc.WithSettingEngine(settings))
}

type relay struct {
	api    *webrtc.API
	origin string
}

func (relay *relay) serve(writer http.ResponseWriter, request *http.Request) {
	asked, err := read(request)
	if err == nil {
		err = relay.begin(writer, request, asked)
	}
	if err != nil {
		log.Print(err)
		http.Error(writer, err.Error(), http.StatusBadGateway)
	}
}

// form is what an application asks with: its offer, and the session's settings if it names any.
type form struct {
	offer, session string
}

func read(request *http.Request) (form, error) {
	body := io.LimitReader(request.Body, 256<<10)
	kind, parameters, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		offer, err := io.ReadAll(body)
		return form{offer: string(offer)}, err
	}
	parts, err := multipart.NewReader(body, parameters["boundary"]).ReadForm(256 << 10)
	if err != nil {
		return form{}, err
	}
	values := url.Values(parts.Value)
	return form{offer: values.Get("sdp"), session: values.Get("session")}, nil
}

// body is the same with another offer, and its type.
func (form form) body(offer string) (*bytes.Buffer, string) {
	if form.session == "" {
		return bytes.NewBufferString(offer), "application/sdp"
	}
	var body bytes.Buffer
	writer := multipart.NewWriter(&body)
	_ = writer.WriteField("sdp", offer)
	_ = writer.WriteField("session", form.session)
	_ = writer.Close()
	return &body, writer.FormDataContentType()
}

// leg is one end of a call.
type leg struct {
	peer  *webrtc.PeerConnection
	track *webrtc.TrackLocalStaticRTP
	// Messages wait here until the channel is open.
	mutex   sync.Mutex
	channel *webrtc.DataChannel
	waiting []webrtc.DataChannelMessage
}

func newLeg(api *webrtc.API) (*leg, error) {
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	track, err := webrtc.NewTrackLocalStaticRTP(codec, "audio", "relay")
	if err != nil {
		return nil, err
	}
	return &leg{peer: peer, track: track}, nil
}

// play has the leg send sound, and read what its peer says of it.
func (leg *leg) play() error {
	sender, err := leg.peer.AddTrack(leg.track)
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 1500)
		for {
			if _, _, err := sender.Read(buffer); err != nil {
				return
			}
		}
	}()
	return nil
}

func (leg *leg) opened(channel *webrtc.DataChannel) {
	leg.mutex.Lock()
	defer leg.mutex.Unlock()
	leg.channel = channel
	for _, message := range leg.waiting {
		leg.write(message)
	}
	leg.waiting = nil
}

func (leg *leg) say(message webrtc.DataChannelMessage) {
	leg.mutex.Lock()
	defer leg.mutex.Unlock()
	if leg.channel == nil {
		leg.waiting = append(leg.waiting, message)
	} else {
		leg.write(message)
	}
}

func (leg *leg) write(message webrtc.DataChannelMessage) {
	if message.IsString {
		_ = leg.channel.SendText(string(message.Data))
	} else {
		_ = leg.channel.Send(message.Data)
	}
}

// pass has all that one leg hears go on to the other.
func pass(from, to *leg) {
	from.peer.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		go func() {
			buffer := make([]byte, 1500)
			for {
				if _, _, err := receiver.Read(buffer); err != nil {
					return
				}
			}
		}()
		buffer := make([]byte, 1500)
		for {
			length, _, err := track.Read(buffer)
			if err != nil {
				return
			}
			if _, err := to.track.Write(buffer[:length]); err != nil {
				return
			}
		}
	})
	from.peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateClosed {
			_ = to.peer.Close()
			_ = from.peer.Close()
		}
	})
}

func (relay *relay) begin(writer http.ResponseWriter, request *http.Request, asked form) error {
	application, err := newLeg(relay.api)
	if err != nil {
		return err
	}
	provider, err := newLeg(relay.api)
	if err != nil {
		return err
	}
	pass(application, provider)
	pass(provider, application)
	answer, header, err := relay.call(provider, application, request, asked)
	if err != nil {
		return err
	}
	application.peer.OnDataChannel(func(channel *webrtc.DataChannel) {
		channel.OnOpen(func() { application.opened(channel) })
		channel.OnMessage(provider.say)
		channel.OnClose(func() { _ = provider.peer.Close() })
	})
	told, err := application.answer(asked.offer)
	if err != nil {
		return err
	}
	if err := provider.peer.SetRemoteDescription(answer); err != nil {
		return err
	}
	writer.Header().Set("Content-Type", "application/sdp")
	writer.Header().Set("Location", header.Get("Location"))
	writer.WriteHeader(http.StatusCreated)
	_, err = io.WriteString(writer, told)
	return err
}

// call makes an offer to the provider in the place of the application's.
func (relay *relay) call(provider, application *leg, request *http.Request, form form) (webrtc.SessionDescription, http.Header, error) {
	none := webrtc.SessionDescription{}
	channel, err := provider.peer.CreateDataChannel("oai-events", nil)
	if err != nil {
		return none, nil, err
	}
	channel.OnOpen(func() { provider.opened(channel) })
	channel.OnMessage(application.say)
	channel.OnClose(func() { _ = application.peer.Close() })
	if err := provider.play(); err != nil {
		return none, nil, err
	}
	offer, err := provider.peer.CreateOffer(nil)
	if err != nil {
		return none, nil, err
	}
	sdp, err := provider.described(offer)
	if err != nil {
		return none, nil, err
	}
	body, kind := form.body(sdp)
	asked, err := http.NewRequestWithContext(request.Context(), http.MethodPost, relay.origin+request.URL.RequestURI(), body)
	if err != nil {
		return none, nil, err
	}
	asked.Header = request.Header.Clone()
	asked.Header.Set("Content-Type", kind)
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(asked)
	if err != nil {
		return none, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusCreated {
		err = fmt.Errorf("the provider answers %d: %s", response.StatusCode, answer)
	}
	return webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}, response.Header, err
}

// answer accepts an offer, and gives the answer with all candidates.
func (leg *leg) answer(offer string) (string, error) {
	if err := leg.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	if err := leg.play(); err != nil {
		return "", err
	}
	answer, err := leg.peer.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	return leg.described(answer)
}

func (leg *leg) described(description webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(leg.peer)
	if err := leg.peer.SetLocalDescription(description); err != nil {
		return "", err
	}
	<-gathered
	return leg.peer.LocalDescription().SDP, nil
}
